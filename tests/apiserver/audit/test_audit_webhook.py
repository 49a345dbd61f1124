"""The audit webhook: batches, what is too large, a server that is away; and what PodSecurity writes into events."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pynetes.apiserver.audit.log import LogFile
from pynetes.apiserver.audit.webhook import TRUNCATED, Limits, Webhook, truncated
from pynetes.apiserver.http import request
from pynetes.component.clock import SystemClock
from tests.apiserver.fakes import FakeClock
from tests.apiserver.harness import api


class Server:
    """Takes batches, or does not."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.away = 0

    async def send(self, body: bytes) -> bytes:
        if self.away:
            self.away -= 1
            raise OSError("away")
        document = json.loads(body)
        assert document["kind"] == "EventList"
        self.batches.append(document["items"])
        return b"{}"


async def delivered(server: Server, webhook: Webhook, count: int) -> None:
    running = asyncio.ensure_future(webhook.run())
    async with asyncio.timeout(10):
        while sum(map(len, server.batches)) < count:
            await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_batches_and_order() -> None:
    """Full batches go at once, the rest when it has waited long enough; nothing is lost, turned round or sent twice."""
    server = Server()
    webhook = Webhook(server.send, SystemClock(), Limits(batch=4, wait=0.05))
    for number in range(10):
        webhook.write(json.dumps({"n": number}).encode())
    await delivered(server, webhook, 10)
    assert [len(batch) for batch in server.batches] == [4, 4, 2]
    assert [event["n"] for batch in server.batches for event in batch] == list(range(10))


async def test_a_server_that_is_away_gets_them_later() -> None:
    """And whoever asks the API server meanwhile does not wait; what does not fit is dropped, not the process."""
    server = Server()
    server.away = 2
    webhook = Webhook(server.send, SystemClock(), Limits(batch=2, wait=0.01, backoff=0.01, buffer=3))
    for number in range(5):
        webhook.write(json.dumps({"n": number}).encode())
    await delivered(server, webhook, 3)
    assert [event["n"] for batch in server.batches for event in batch] == [0, 1, 2]


async def test_what_is_left_goes_out_at_the_end() -> None:
    """A server that is stopped takes its last events to the webhook."""
    server = Server()
    webhook = Webhook(server.send, SystemClock(), Limits(wait=60))
    running = asyncio.ensure_future(webhook.run())
    webhook.write(b'{"n":1}')
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert server.batches == [[{"n": 1}]]


def test_what_is_too_large_loses_its_objects() -> None:
    """Who did what stays; an event that is too large even so is dropped."""
    event = {"user": {"username": "u"}, "requestObject": {"data": "x" * 500}, "responseObject": {"data": "y" * 500}}
    line = json.dumps(event).encode()
    cut = json.loads(truncated(line, 300) or b"")
    assert cut["user"] == {"username": "u"} and cut["annotations"] == {TRUNCATED: "true"}
    assert "requestObject" not in cut and "responseObject" not in cut
    assert truncated(line, 0) == line and truncated(line, 20) is None


def test_rotated_logs_are_packed(tmp_path: Path) -> None:
    """And still nobody else's to read."""
    log = LogFile(str(tmp_path / "audit.log"), FakeClock(), limits=(1, 2, 0), compress=True)
    for _ in range(4):
        log.write(b"x" * (1 << 20))
    log.close()
    packed = sorted(tmp_path.glob("*.gz"))
    assert len(packed) == 2 and all(path.stat().st_mode & 0o777 == 0o600 for path in packed)
    assert gzip.decompress(packed[0].read_bytes()) == b"x" * (1 << 20) + b"\n"


@pytest.fixture
def audited(tmp_path: Path) -> dict[str, Any]:
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
    (tmp_path / "policy.yaml").write_text(json.dumps(policy))
    return {"audit_policy_file": str(tmp_path / "policy.yaml"), "audit_log_path": str(tmp_path / "audit.log")}


async def test_pod_security_writes_what_it_found(audited: dict[str, Any]) -> None:
    """The level in force, and what mode audit would have refused; by the version that the namespace asks for."""
    labels = {
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/audit-version": "v1.7",
    }
    async with api(**audited) as server:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}
        assert (await server.post("/api/v1/namespaces", namespace)).status == 201
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        assert (await server.post("/api/v1/namespaces/shop/serviceaccounts", account)).status == 201
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
        assert (await server.post("/api/v1/namespaces/shop/pods", pod)).status == 201
        raised = {
            **namespace,
            "metadata": {"name": "shop", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }
        assert len((await server.get("/api/v1/namespaces/shop/pods")).body["items"]) == 1
        raising = request("PUT", "/api/v1/namespaces/shop", body=raised)
        assert (await server.server.handle(raising)).status == 200
        told = "\n".join(raising.warnings)
        assert "existing pods in namespace" in told and "p: allowPrivilegeEscalation != false, unrestricted" in told
    events = [json.loads(line) for line in Path(audited["audit_log_path"]).read_text().splitlines()]
    [found] = [
        one for one in events if one.get("objectRef", {}).get("name") == "p" and one["stage"] == "ResponseComplete"
    ]
    told = found["annotations"]
    assert told["pod-security.kubernetes.io/enforce-policy"] == "baseline:latest"
    # Version 1.7 knew nothing of privilege escalation, capabilities and seccomp.
    assert told["pod-security.kubernetes.io/audit-violations"] == (
        'would violate PodSecurity "restricted:v1.7": runAsNonRoot != true'
        ' (pod or container "c" must set securityContext.runAsNonRoot=true)'
    )
