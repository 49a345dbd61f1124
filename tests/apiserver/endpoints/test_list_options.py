"""Query parameters of lists and watches that are wrong: what is told first, and in which words."""

import base64

import pytest

from tests.apiserver.harness import CONFIGMAPS, api

FAR = "9" * 24
RANGE = f'strconv.ParseInt: parsing "{FAR}": value out of range'


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("limit=", 400, 'strconv.ParseInt: parsing "": invalid syntax'),
        ("limit=1_0", 400, 'strconv.ParseInt: parsing "1_0": invalid syntax'),
        (f"timeoutSeconds={FAR}", 400, RANGE),
        (f"limit={FAR}&labelSelector=!!a", 400, RANGE),
        ("resourceVersionMatch=Exact&fieldSelector=a", 400, "invalid selector: 'a'; can't understand 'a'"),
        ("resourceVersion=5&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0", 400,
         "specifying resource version is not allowed when using continue"),
        ("continue=abc", 400, "invalid continue token: continue key is not valid:"
                              " invalid character 'i' looking for beginning of value"),
        (f"resourceVersion={FAR}", 400, f'invalid resource version: resourceVersion: Invalid value: "{FAR}":'
                                        f' strconv.ParseUint: parsing "{FAR}": value out of range'),
    ],
)  # fmt: skip
async def test_wrong_parameters(query: str, status: int, message: str) -> None:
    """What cannot be read at all comes before what does not go together."""
    async with api() as server:
        answer = await server.get(f"{CONFIGMAPS}?{query}")
        assert (answer.status, answer.body["message"]) == (status, message)


async def test_what_does_not_go_together_comes_before_fields_that_are_not_there() -> None:
    """422 before 400; and the causes in upstream's order."""
    async with api() as server:
        answer = await server.get(f"{CONFIGMAPS}?sendInitialEvents=true&resourceVersionMatch=Exact&fieldSelector=a=b")
        fields = [cause["field"] for cause in answer.body["details"]["causes"]]
        assert (answer.status, fields) == (422, ["resourceVersionMatch", "sendInitialEvents"])


@pytest.mark.parametrize("start", ("../secrets", "a/../b", "a//b"))
async def test_a_continuation_goes_nowhere_else(start: str) -> None:
    """A key that is not in its simplest form is refused."""
    token = base64.urlsafe_b64encode(f'{{"v":"meta.k8s.io/v1","rv":1,"start":"{start}"}}'.encode()).rstrip(b"=")
    async with api() as server:
        answer = await server.get(f"{CONFIGMAPS}?continue={token.decode()}")
        text = f"invalid continue token: continue key is not valid: {start}"
        assert (answer.status, answer.body["message"]) == (400, text)


async def test_a_watch_of_one_name_selects_no_other() -> None:
    """The old watch path names the object; a selector of another is a contradiction."""
    async with api() as server:
        path = "/api/v1/watch/namespaces/default/configmaps/a?fieldSelector=metadata.name%3Db"
        answer = await server.get(path)
        assert (answer.status, answer.body["message"]) == (
            400,
            "fieldSelector metadata.name doesn't match requested name",
        )
