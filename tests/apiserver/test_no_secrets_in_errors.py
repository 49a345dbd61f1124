"""Whoever gets a Secret wrong is told where, and nobody who reads errors or logs is told what."""

import logging
from typing import Any

import orjson
import pytest

from pynetes.machinery.meta import Object
from tests.apiserver.harness import api

CANARY = "canary-51c0ffee"
SECRETS = "/api/v1/namespaces/default/secrets"
RAW = f'{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"x"}},"stringData":{{"a":"{CANARY}"'.encode()


def secret(**parts: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, **parts}


@pytest.mark.parametrize(
    ("method", "body", "kind"),
    [
        ("POST", secret(data={"a": CANARY + "!"}), "application/json"),
        ("POST", secret(data={"a": {"deep": CANARY}}), "application/json"),
        ("POST", secret(stringData={"not/a/key": CANARY}), "application/json"),
        ("POST", secret(stringData={"a": CANARY}, type="kubernetes.io/tls"), "application/json"),
        ("POST", secret(stringData={".dockerconfigjson": CANARY}, type="kubernetes.io/dockerconfigjson"), "json"),
        ("POST", RAW, "application/json"),
        ("POST", RAW, "application/yaml"),
        ("PATCH", secret(data={"a": CANARY}), "application/merge-patch+json"),
        ("PATCH", b'{"data": {"a": "' + CANARY.encode(), "application/merge-patch+json"),
        ("PATCH", secret(data={"a": CANARY + "!"}), "application/apply-patch+yaml"),
        (
            "PATCH",
            b'[{"op": "test", "path": "/data/k", "value": "' + CANARY.encode() + b'"}]',
            "application/json-patch+json",
        ),
        ("PUT", secret(stringData={"k": CANARY}), "application/json"),
    ],
)
async def test_refusals_quote_no_secret(method: str, body: Any, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the answer nor the log has a word of it; the Secret that is there is immutable."""
    caplog.set_level(logging.DEBUG)
    async with api() as server:
        kept = secret(data={"k": "aw=="}, immutable=True)
        kept["metadata"]["name"] = "kept"
        assert (await server.post(SECRETS, kept)).status == 201
        path = SECRETS if method == "POST" else f"{SECRETS}/kept"
        if isinstance(body, dict) and method != "POST":
            body = {**body, "metadata": {"name": "kept"}}
        sent = body if isinstance(body, bytes) else orjson.dumps(body)
        answer = await server.ask(method, f"{path}?fieldManager=t", sent, content_type=kind)
    assert 400 <= answer.status < 500, answer.raw
    assert CANARY.encode() not in answer.raw
    assert CANARY not in caplog.text
