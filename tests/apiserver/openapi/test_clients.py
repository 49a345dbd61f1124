"""The operations are those that the official Python client was generated from."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.openapi.test_documents import document, operations

client = pytest.importorskip("kubernetes_asyncio.client", reason="pip install kubernetes-asyncio")
FOLDER = Path(client.__file__).parent / "api"


def snake(text: str) -> str:
    """listNamespacedPod as the client has it: list_namespaced_pod."""
    text = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", text)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text).lower()


def theirs() -> dict[tuple[str, str], dict[str, Any]]:
    """(path, method) → what the client's function of it sends and accepts."""
    found = {}
    for file in FOLDER.glob("*_api.py"):
        for name, body in re.findall(r"def (\w+)_with_http_info\((.*?)(?=\n    def |\Z)", file.read_text(), re.DOTALL):
            called = re.search(r"call_api\(\s*'(.*?)', '(\w+)'", body)
            accepts = re.search(r"select_header_accept\(\s*\[(.*?)\]", body, re.DOTALL)
            assert called
            given = re.findall(r"query_params.append\(\('(\w+)'", body) + re.findall(r"path_params\['(\w+)'\]", body)
            answers = re.findall(r"^\s+(\d+): \"?(\w+)\"?", body, re.MULTILINE)
            found[called[1], called[2].lower()] = {
                "name": name,
                "parameters": sorted(given + ["body"] * ("    'body'" in body)),
                "produces": [
                    media for media in re.findall(r"'(.*?)'", accepts[1] if accepts else "") if "cbor" not in media
                ],
                "answers": {code: kind for code, kind in answers if kind != "None"},
            }
    return found


def test_operations_are_those_of_the_client() -> None:
    """Names, parameters, media types and answers of every operation that is served."""
    known = theirs()
    root = document("/openapi/v2")
    different = []
    for path, method, operation, parameters in operations(root):
        if "/watch/" in path:
            continue  # the old form, for which no client is generated
        expected = known[path, method]
        tag = "".join(part[:1].upper() + part[1:] for part in operation["tags"][0].split("_"))
        names = {snake(operation["operationId"]), snake(operation["operationId"].replace(tag, "", 1))}
        answers = {
            code: answer["schema"].get("$ref", "string").rpartition(".")[2]
            for code, answer in operation["responses"].items()
            if "schema" in answer
        }
        same = (
            expected["name"] in names
            and expected["parameters"] == sorted(parameter["name"] for parameter in parameters)
            and expected["produces"] == operation["produces"]
            and expected["answers"].keys() == answers.keys()
            and all(
                expected["answers"][code].endswith(kind if kind != "string" else "str")
                for code, kind in answers.items()
            )
        )
        if not same:
            different.append((path, method, expected, operation))
    assert different == []
