"""Requests made from our own OpenAPI: the server answers each as the document says, or with a Status.

`pytest --hypothesis-profile=explore tests/apiserver/openapi/test_schemathesis.py` tries every group version, many more
requests, and others each time.
"""

from typing import Any

import orjson
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings

from tests.apiserver.openapi.test_documents import TARGETS, document
from tests.apiserver.test_fuzz import Fuzzed, server

schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")

__all__ = ["server"]
EXPLORES = settings.get_current_profile_name() == "explore"
#: Small ones that together have every kind of operation, so that the quick form is quick.
QUICK = ("apis/apps", "apis/autoscaling/v1", "apis/coordination.k8s.io/v1", "apis/policy/v1", "version")
#: Lasting connections to other programs.
CONNECTED = ("/proxy", "/exec", "/attach", "/portforward", "/log")
#: Upstream's document calls these texts, and they are objects.
CALLED_TEXT = ("openid",)
SETTINGS = settings(
    max_examples=8 if EXPLORES else 3,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


def is_asked(path: str) -> bool:
    """Whether an operation has an answer that says something: the old watches have none but events."""
    return "/watch/" not in path and not any(part in path for part in (*CONNECTED, *CALLED_TEXT))


def placed(case: Any, seen: set[str]) -> None:
    """Most requests are about what there is: one namespace, and one name per kind."""
    if "namespace" in case.path_parameters:
        case.path_parameters["namespace"] = "default"
    if "name" in case.path_parameters and len(seen) % 3:
        case.path_parameters["name"] = "fuzzed"
    if case.method in ("POST", "PUT") and isinstance(case.body, dict):
        metadata = case.body.get("metadata")
        case.body["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "name": "fuzzed"}
        for name in ("apiVersion", "kind"):
            case.body.pop(name, None)
    seen.add(case.id)


def check(server: Fuzzed, operation: Any, case: Any, required: frozenset[str]) -> None:
    """Ask, and compare the answer with what the operation says of it. Raises AssertionError, as the library does."""
    sent = requests.Request(**case.as_transport_kwargs(base_url="https://localhost")).prepare()
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
    headers = {name.lower(): value for name, value in sent.headers.items()}
    answer = server.whole(str(sent.method), sent.path_url, body, headers)
    if answer is None:
        return  # a watch, which has begun and was ended
    # Some mistakes of clients are 500 upstream too: a Status without a reason, which faults of the server have.
    assert answer.status in range(200, 501) or answer.status == 504, answer.raw
    assert answer.status != 500 or "reason" not in answer.body, answer.raw
    if answer.status >= 400:
        if answer.type == "application/json":
            assert (answer.body["kind"], answer.body["code"]) == ("Status", answer.status)
        return
    if case.method == "DELETE" and (answer.body.get("metadata") or {}).get("deletionTimestamp"):
        return  # What only begins to go is answered with itself, where upstream's document says Status.
    kept = {name: [value] for name, value in answer.headers} | {"Content-Type": [answer.type]}
    raw = orjson.dumps(bare(answer.body, required)) if answer.type == "application/json" else answer.raw
    operation.validate_response(
        schemathesis.Response(answer.status, kept, raw, sent, elapsed=0, verify=False), case=case
    )


def bare(value: Any, required: frozenset[str]) -> Any:
    """Without nulls: upstream's lists that are empty are null too, which its documents do not say."""
    if isinstance(value, dict):
        there = {name: [] if name in required and member is None else member for name, member in value.items()}
        return {name: bare(member, required) for name, member in there.items() if member is not None}
    return [bare(item, required) for item in value] if isinstance(value, list) else value


def required_lists(found: Any) -> frozenset[str]:
    """The fields that are lists and have to be there."""
    kinds = found.get("components", {}).get("schemas", {}).values()
    named = ((name, kind["properties"][name]) for kind in kinds for name in kind.get("required", ()))
    return frozenset(name for name, member in named if member.get("type") == "array")


def fuzz(server: Fuzzed, operation: Any, required: frozenset[str]) -> list[str]:
    """Requests of one operation; what was wrong, for the same request may do well the next time."""
    seen: set[str] = set()
    wrong: list[str] = []

    @SETTINGS
    @given(case=operation.as_strategy())
    def answered(case: Any) -> None:
        placed(case, seen)
        try:
            check(server, operation, case, required)
        except AssertionError as error:
            wrong.append(
                f"{case.method} {case.formatted_path} {case.query} {str(case.body)[:2000]}: {str(error)[:2000]}"
            )

    answered()
    return wrong


@pytest.mark.parametrize("target", TARGETS if EXPLORES else QUICK)
def test_the_server_answers_as_its_document_says(server: Fuzzed, target: str) -> None:
    """No failure of the server, and nothing that the document does not have."""
    described = document(f"/openapi/v3/{target}")
    schema, required = schemathesis.openapi.from_dict(described), required_lists(described)
    operations = [result.ok() for result in schema.get_all_operations()]
    wrong = [line for operation in operations if is_asked(operation.path) for line in fuzz(server, operation, required)]
    assert not wrong, "\n".join(wrong)
