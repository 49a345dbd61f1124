"""A read that came before is answered by a shorter way, which must not be seen but by its speed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from pynetes.apiserver.app import APIServer, build, running
from pynetes.apiserver.audit import policy
from pynetes.apiserver.config import Config
from pynetes.apiserver.filters.observation import _REQUESTS
from pynetes.apiserver.serving import with_token_key
from pynetes.machinery.meta import Object
from pynetes.storage.memory import MemoryBackend
from tests.apiserver.harness import API, CONFIGMAPS, configmap

GRANT = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"


class Client:
    """One connection that asks in the same bytes each time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader, self._writer, self._token = reader, writer, token

    def send(self, path: str, *headers: str) -> None:
        lines = [f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {self._token}", *headers]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(5):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await self._reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body

    async def get(self, path: str, *headers: str) -> tuple[int, dict[str, str], Any]:
        self.send(path, *headers)
        status, found, body = await self.answer()
        return status, found, orjson.loads(body)

    async def repeated(self, path: str, times: int = 4) -> Object:
        """Ask until the short way is taken; the last answer."""
        for _ in range(times):
            status, _, body = await self.get(path)
            assert status == 200, body
        found: Object = body
        return found


class Served:
    """A server on a port, and the administrator's way in."""

    def __init__(self, server: APIServer) -> None:
        self.server, self.admin = server, API(server)
        self._writers: list[asyncio.StreamWriter] = []

    async def client(self, token: str = "alice") -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        self._writers.append(writer)
        return Client(reader, writer, token)

    @property
    def kept(self) -> int:
        return len(self.server.repeats._known)

    async def ask(self, method: str, path: str, body: Object | bytes = b"") -> Any:
        answer = await self.admin.ask(method, path, body, authorization="Bearer root")
        assert answer.status < 300, answer.raw
        return answer

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def served(folder: Path, **config: Any) -> AsyncIterator[Served]:
    """With RBAC: root may do everything, alice may read ConfigMaps in default."""
    tokens = folder / "tokens.csv"
    tokens.write_text('root,root,1,system:masters\nalice,alice,2,"people"\n')
    modes = ("RBAC",)
    settings = Config(token_auth_file=str(tokens), authorization_mode=modes, cert_dir=str(folder), **config)
    settings = replace(settings, bind_address="127.0.0.1", secure_port=0)
    async with running(build(with_token_key(settings), MemoryBackend())) as server:
        made = Served(server)
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
        await made.ask("POST", f"{GRANT}/roles", {"metadata": {"name": "reader"}, "rules": rules})
        reader = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
        alice = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}
        binding = {"metadata": {"name": "reader"}, "roleRef": reader, "subjects": [alice]}
        await made.ask("POST", f"{GRANT}/rolebindings", binding)
        await made.ask("POST", CONFIGMAPS, configmap("one", a="1"))
        try:
            yield made
        finally:
            made.close()


ONE = f"{CONFIGMAPS}/one"


async def test_the_short_way_answers_the_same(tmp_path: Path) -> None:
    """Same bytes and headers but for date and audit ID; counted as every request is."""
    async with served(tmp_path) as made:
        alice = await made.client()
        labels = ("GET", "", "", "v1", "configmaps", "", "resource", "apiserver", "200")
        before = _REQUESTS.value(*labels)
        answers = [await alice.get(ONE) for _ in range(6)]
        assert made.kept == 1
        bodies = [body for _, _, body in answers]
        assert bodies == [bodies[0]] * 6
        differing = [{n: v for n, v in headers.items() if n not in ("audit-id", "date")} for _, headers, _ in answers]
        assert differing == [differing[0]] * 6
        assert len({headers["audit-id"] for _, headers, _ in answers}) == 6
        assert _REQUESTS.value(*labels) == before + 6


async def test_it_shows_what_is_there_now(tmp_path: Path) -> None:
    """A change, a deletion and a new object under the name; each is seen by the next read."""
    async with served(tmp_path) as made:
        alice = await made.client()
        await alice.repeated(ONE)
        await made.ask("PUT", ONE, configmap("one", a="2"))
        assert (await alice.get(ONE))[2]["data"] == {"a": "2"}
        await made.ask("DELETE", ONE)
        assert (await alice.get(ONE))[0] == 404
        await made.ask("POST", CONFIGMAPS, configmap("one", a="3"))
        assert (await alice.repeated(ONE))["data"] == {"a": "3"}


async def test_rights_that_are_gone_are_gone(tmp_path: Path) -> None:
    """The next read is refused, on a connection that has read before, and others' too."""
    async with served(tmp_path) as made:
        alice, another = await made.client(), await made.client()
        await alice.repeated(ONE)
        await another.repeated(ONE)
        await made.ask("DELETE", f"{GRANT}/rolebindings/reader")
        assert [(await each.get(ONE))[0] for each in (alice, another)] == [403, 403]
        assert (await (await made.client("root")).repeated(ONE))["data"] == {"a": "1"}


async def test_credentials_are_those_of_each_request(tmp_path: Path) -> None:
    """Another token on the same connection is another user; a token of an account ends with the account."""
    async with served(tmp_path) as made:
        alice = await made.client()
        await alice.repeated(ONE)
        alice._token = "nobody"
        assert (await alice.get(ONE))[0] == 401
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        await made.ask("POST", accounts, {"metadata": {"name": "robot"}})
        asked = {"spec": {"expirationSeconds": 600}}
        token = (await made.ask("POST", f"{accounts}/robot/token", asked)).body["status"]["token"]
        review = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/reader"
        binding = (await made.ask("GET", review)).body
        binding["subjects"].append({"kind": "ServiceAccount", "name": "robot", "namespace": "default"})
        await made.ask("PUT", review, binding)
        robot = await made.client(token)
        await robot.repeated(ONE)
        kept = made.kept
        await made.ask("DELETE", f"{accounts}/robot")
        assert (await robot.get(ONE))[0] == 401
        assert made.kept == kept - 1


async def test_answers_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    """Whatever of them came before, and however they are packed."""
    async with served(tmp_path) as made:
        await made.ask("POST", CONFIGMAPS, configmap("two", b="2"))
        alice = await made.client()
        await alice.repeated(ONE)
        for _ in range(3):
            for path in (ONE, f"{CONFIGMAPS}/two", ONE, ONE, f"{CONFIGMAPS}/none", ONE):
                alice.send(path)
                await asyncio.sleep(0)
            names = [orjson.loads((await alice.answer())[2])["metadata"].get("name") for _ in range(6)]
            assert names == ["one", "two", "one", "one", None, "one"]


@pytest.mark.parametrize("header", ["Connection: close", "Impersonate-User: bob", "Audit-Id: mine"])
async def test_what_is_not_the_same_each_time_is_not_kept(tmp_path: Path, header: str) -> None:
    """A connection to be closed, another's name, an audit ID of the client's own."""
    async with served(tmp_path) as made:
        for _ in range(4):
            root = await made.client("root")
            await root.get(ONE, header)
        assert made.kept == 0


async def test_every_read_is_audited(tmp_path: Path) -> None:
    """Where a policy wants them written, none is kept."""
    rules = tmp_path / "policy.yaml"
    rules.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n")
    assert policy.load(str(rules))
    log = tmp_path / "audit.log"
    async with served(tmp_path, audit_policy_file=str(rules), audit_log_path=str(log)) as made:
        alice = await made.client()
        await alice.repeated(ONE, 5)
        assert made.kept == 0
    events = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    assert sum(e["stage"] == "ResponseComplete" and e["user"]["username"] == "alice" for e in events) == 5
