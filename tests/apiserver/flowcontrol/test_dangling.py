"""The condition Dangling of FlowSchemas."""

import asyncio

from pynetes.machinery.meta import Object
from tests.apiserver.harness import API
from tests.apiserver.harness import api as serving

PATH = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"


async def dangling(api: API) -> Object:
    """The condition, once it is there."""
    async with asyncio.timeout(5):
        while True:
            status = (await api.get(f"{PATH}/mine")).body["status"]
            if status.get("conditions"):
                found: Object = status["conditions"][0]
                return found
            await asyncio.sleep(0)


async def test_a_schema_tells_whether_its_level_exists() -> None:
    """False with reason Found, or True with reason NotFound."""
    async with serving() as api:
        rule = {"subjects": [{"kind": "User", "user": {"name": "u"}}]}
        rule["nonResourceRules"] = [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]
        for level, status, reason in (("global-default", "False", "Found"), ("nope", "True", "NotFound")):
            spec = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": 9000, "rules": [rule]}
            body = {"metadata": {"name": "mine"}, "spec": spec}
            assert (await api.post(PATH, body)).status == 201
            found = await dangling(api)
            assert (found["type"], found["status"], found["reason"]) == ("Dangling", status, reason)
            await api.delete(f"{PATH}/mine")


async def test_a_condition_without_a_type_is_refused() -> None:
    """It used to end the server, which looks for its own condition among those that others wrote."""
    async with serving() as api:
        spec = {"priorityLevelConfiguration": {"name": "global-default"}, "matchingPrecedence": 9000}
        await api.post(PATH, {"metadata": {"name": "mine"}, "spec": spec})
        asked = await api.merge(f"{PATH}/mine/status", {"status": {"conditions": [{"status": "True"}]}})
        assert (asked.status, asked.body["details"]["causes"][0]["field"]) == (422, "status.conditions[0].type")
        assert (await dangling(api))["type"] == "Dangling"
