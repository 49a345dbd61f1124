"""Audit: nobody does anything unseen, and the log gives away no more than its policy says."""

import gzip
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pynetes.apiserver.audit import policy
from pynetes.apiserver.audit.log import MEGABYTE, LogFile
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.requestinfo import parse
from pynetes.machinery.meta import Object
from tests.apiserver.fakes import FakeClock
from tests.apiserver.harness import API, CONFIGMAPS, api, configmap

ALICE = {"authorization": "Bearer alice-token"}
ROOT = {"authorization": "Bearer root-token"}
SECRETS = "/api/v1/namespaces/default/secrets"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "tokens.csv").write_text('alice-token,alice,u1,"devs"\nroot-token,root,u2,"system:masters"\n')
    return {
        "audit_policy_file": str(tmp_path / "policy.yaml"),
        "audit_log_path": str(tmp_path / "audit.log"),
        "token_auth_file": str(tmp_path / "tokens.csv"),
        "authorization_mode": ("RBAC",),
    }


def rules(files: dict[str, Any], *given: Object, **more: Any) -> dict[str, Any]:
    document = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(given), **more}
    Path(files["audit_policy_file"]).write_text(json.dumps(document))
    return files


def events(files: dict[str, Any]) -> list[Object]:
    return [json.loads(line) for line in Path(files["audit_log_path"]).read_text().splitlines()]


async def ask(server: API, method: str, path: str, body: Any = b"", **headers: str) -> int:
    return (await server.ask(method, path, body, **headers)).status


async def test_who_what_and_why_it_was_allowed(files: dict[str, Any]) -> None:
    """User, source, verb, object, answer, decision and reason, at two stages under one ID."""
    async with api(**rules(files, {"level": "Metadata"})) as server:
        Path(files["audit_log_path"]).write_text("")
        await server.ask("POST", CONFIGMAPS, configmap("a", k="hidden"), **ROOT, user_agent="kubectl")
    received, done = [one for one in events(files) if one["user"].get("username") == "root"]
    assert (received["stage"], done["stage"]) == ("RequestReceived", "ResponseComplete")
    assert received["auditID"] == done["auditID"]
    assert done["level"] == "Metadata" and done["verb"] == "create" and done["userAgent"] == "kubectl"
    assert done["requestURI"] == CONFIGMAPS
    assert done["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1", "name": "a"}
    assert done["responseStatus"] == {"metadata": {}, "code": 201}
    assert done["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert "hidden" not in json.dumps(done)


async def test_refusals_are_written(files: dict[str, Any]) -> None:
    """403 with the decision; 401 although nobody knows who it was, and without the token."""
    async with api(**rules(files, {"level": "RequestResponse"}, omitStages=["RequestReceived"])) as server:
        Path(files["audit_log_path"]).write_text("")
        assert (
            await ask(server, "POST", SECRETS, {"metadata": {"name": "x"}, "data": {"flood": "AAAA"}}, **ALICE) == 403
        )
        assert await ask(server, "GET", SECRETS, authorization="Bearer guessed-token") == 401
    forbidden, unknown = events(files)
    assert forbidden["responseStatus"]["reason"] == "Forbidden"
    assert forbidden["annotations"]["authorization.k8s.io/decision"] == "forbid"
    # Who may do nothing cannot fill the log with what was sent.
    assert "requestObject" not in forbidden
    assert unknown["responseStatus"]["code"] == 401 and unknown["user"] == {}
    assert "token" not in Path(files["audit_log_path"]).read_text()


async def test_impersonation_shows_both(files: dict[str, Any]) -> None:
    """Nobody hides behind another's name."""
    async with api(**rules(files, {"level": "Metadata", "users": ["root"]}, omitStages=["RequestReceived"])) as server:
        assert await ask(server, "GET", SECRETS, impersonate_user="bob", **ROOT) == 403
    [event] = events(files)
    assert event["user"]["username"] == "root" and event["impersonatedUser"]["username"] == "bob"


async def test_levels_and_managed_fields(files: dict[str, Any]) -> None:
    """Secrets at Metadata show no data though everything else is at RequestResponse; managedFields go when told."""
    given = rules(
        files,
        {"level": "None", "users": ["system:apiserver"]},
        {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets"]}]},
        {"level": "RequestResponse", "omitManagedFields": True},
        omitStages=["RequestReceived"],
    )
    async with api(**given) as server:
        await server.ask("POST", SECRETS, {"metadata": {"name": "s"}, "stringData": {"p": "hunter2"}}, **ROOT)
        await server.ask("GET", f"{SECRETS}/s", **ROOT)
        await server.ask("POST", CONFIGMAPS, configmap("a", k="shown"), **ROOT)
        await server.ask("GET", CONFIGMAPS, **ROOT)
    text = Path(files["audit_log_path"]).read_text()
    assert "hunter2" not in text and "aHVudGVyMg" not in text and "managedFields" not in text
    *_, created, listed = events(files)
    assert created["requestObject"]["data"] == created["responseObject"]["data"] == {"k": "shown"}
    assert listed["responseObject"]["kind"] == "ConfigMapList"


async def test_a_watch_is_written_at_its_beginning_and_its_end(files: dict[str, Any]) -> None:
    """ResponseStarted when it begins, ResponseComplete when the client goes."""
    async with api(**rules(files, {"level": "Metadata", "verbs": ["watch"]}, omitStages=["RequestReceived"])) as server:
        answer = await server.get(f"{CONFIGMAPS}?watch=1", **ROOT)
        await anext(answer.stream)
        assert [one["stage"] for one in events(files)] == ["ResponseStarted"]
        await answer.stream.aclose()
    assert [one["stage"] for one in events(files)] == ["ResponseStarted", "ResponseComplete"]


async def test_without_a_policy_nothing_is_in_the_way() -> None:
    """The chain is the same as before: no link, no annotations."""
    async with api() as server:
        assert server.server.audit is None


@pytest.mark.parametrize(
    ("rule", "method", "path", "matches"),
    [
        ({"resources": [{"group": "", "resources": ["pods"]}]}, "GET", "/api/v1/namespaces/a/pods/x/log", False),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, "GET", "/api/v1/namespaces/a/pods/x/log", True),
        ({"resources": [{"group": "", "resources": ["*/log"]}]}, "GET", "/api/v1/namespaces/a/pods/x/log", True),
        ({"resources": [{"group": "apps"}]}, "GET", "/apis/apps/v1/deployments", True),
        ({"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["y"]}]}, "GET", "/api/v1/pods", False),
        ({"namespaces": ["kube-system"]}, "GET", "/api/v1/namespaces/kube-system/pods", True),
        ({"namespaces": ["kube-system"]}, "GET", "/api/v1/nodes", False),
        ({"nonResourceURLs": ["/healthz*"]}, "GET", "/healthz/etcd", True),
        ({"nonResourceURLs": ["/healthz*"]}, "GET", "/api/v1/pods", False),
        ({"userGroups": ["devs"], "verbs": ["get"]}, "GET", "/version", True),
        ({"users": ["bob"]}, "GET", "/version", False),
    ],
)
def test_what_a_rule_covers(rule: Object, method: str, path: str, matches: bool, files: dict[str, Any]) -> None:
    """The first matching rule decides; what none matches is not written."""
    made = policy.load(rules(files, {"level": "Request", **rule})["audit_policy_file"])
    wanted = made.decide(User("alice", groups=("devs",)), parse(method, path))
    assert (wanted.level is policy.Level.Request) is matches


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"level": "All"}, r"rules\[0\].level"),
        ({"level": "None", "omitStages": ["Later"]}, "unknown stage 'Later'"),
        ({"level": "None", "nonResourceURLs": ["*"], "namespaces": ["a"]}, "cannot apply to both"),
        ({"level": "None", "resources": [{"group": "", "resourceNames": ["a"]}]}, "at least 1 resource"),
    ],
)
def test_a_wrong_policy_is_refused(rule: Object, text: str, files: dict[str, Any]) -> None:
    """At start, by its place: a policy half understood would leave things unseen."""
    with pytest.raises(ValueError, match=text):
        policy.load(rules(files, rule)["audit_policy_file"])


def test_the_log_is_rotated_and_old_ones_go(tmp_path: Path) -> None:
    """By size; so many backups, so old at most; what is not ours stays; nobody else may read them."""
    clock = FakeClock(datetime(2026, 1, 10, tzinfo=UTC))
    path = tmp_path / "audit.log"
    (tmp_path / "audit-notes.log").write_text("mine")
    (tmp_path / "audit-2026-01-01T00-00-00.000.log").write_text("old")
    log = LogFile(str(path), clock, limits=(1, 2, 5))
    line = b"x" * (MEGABYTE // 2 + 1)
    for _ in range(4):
        log.write(line)
        clock.advance(1)
    log.close()
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == [
        "audit-2026-01-10T00-00-02.000.log",
        "audit-2026-01-10T00-00-03.000.log",
        "audit-notes.log",
        "audit.log",
    ]
    assert path.read_bytes() == line + b"\n" and path.stat().st_mode & 0o777 == 0o600


def _lines(folder: Path) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    for path in folder.glob("audit*"):
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found.update(text.splitlines())
    return found


def test_workers_share_a_log(tmp_path: Path) -> None:
    """Each event is there once and whole, though all of them rotate and pack what the others are writing to."""
    clock = FakeClock(datetime(2026, 1, 10, tzinfo=UTC))

    def work(worker: int) -> None:
        log = LogFile(str(tmp_path / "audit.log"), clock, limits=(1, 0, 0), compress=True)
        for number in range(1000):
            log.write(f"{worker} {number} ".encode() + b"x" * 1024)
        log.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    found = _lines(tmp_path)
    assert len(found) == found.total() == 4000 and len(list(tmp_path.glob("*.gz"))) >= 3
    assert {len(line) for line in found} <= set(range(1024, 1036))


def test_a_log_that_somebody_moves_away(tmp_path: Path) -> None:
    """What comes after goes into a new file; nothing disappears into a removed one."""
    path = tmp_path / "audit.log"
    log = LogFile(str(path), FakeClock(datetime(2026, 1, 10, tzinfo=UTC)))
    log.write(b"1")
    path.rename(tmp_path / "kept")
    log.write(b"2")
    path.unlink()
    log.write(b"3")
    log.close()
    assert (path.read_bytes(), (tmp_path / "kept").read_bytes()) == (b"3\n", b"1\n")


def test_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    """The event is lost and counted; the request goes on."""
    log = LogFile("/dev/full", FakeClock(datetime(2026, 1, 10, tzinfo=UTC)))
    log.write(b"event")
    log.close()
