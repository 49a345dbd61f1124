"""The instance metadata service, as EC2 documents IMDSv2: a session token first, then everything else.

A token comes by PUT with a TTL, is bound to the instance that asked, and its answer travels only as many hops as the
instance's options say (1: as far as the instance itself, not into a container behind it). Requests that carry
X-Forwarded-For are refused a token: they came through a proxy that somebody talked into asking.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from pynetes.cloud.metadata.credentials import Credentials, Issuer
from pynetes.cloud.metadata.sessions import LONGEST, SHORTEST, Sessions
from pynetes.machinery import time

TTL, TOKEN = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
VERSIONS = ("1.0", "2021-07-15", "latest")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the instance learns about itself."""

    id: str
    name: str
    type: str
    zone: str
    region: str
    address: str
    tags: Mapping[str, str] = field(default_factory=dict)
    user_data: str = ""
    role: str = ""
    hop_limit: int = 1


class _Answer(NamedTuple):
    status: int
    text: str = ""
    kind: str = "text/plain"


def tree(facts: Facts, issue: Callable[[], Credentials], now: datetime) -> dict[str, Any]:
    """Everything below /latest: nested names, leaves are texts or functions that make one."""
    placement = {"availability-zone": facts.zone, "region": facts.region}
    role = {facts.role: lambda: _credentials(issue(), now)} if facts.role else {}
    meta = {
        "ami-id": "ami-local",
        "hostname": facts.name,
        "instance-id": facts.id,
        "instance-life-cycle": "on-demand",
        "instance-type": facts.type,
        "local-hostname": facts.name,
        "local-ipv4": facts.address,
        "placement": placement,
        "services": {"domain": "localhost", "partition": "local"},
        "tags": {"instance": dict(facts.tags)},
        "iam": {"security-credentials": role},
    }
    identity = {
        "instanceId": facts.id,
        "instanceType": facts.type,
        "availabilityZone": facts.zone,
        "region": facts.region,
        "privateIp": facts.address,
        "version": "2017-09-30",
    }
    found: dict[str, Any] = {
        "meta-data": meta,
        "dynamic": {"instance-identity": {"document": orjson.dumps(identity, option=orjson.OPT_INDENT_2).decode()}},
    }
    return found | ({"user-data": facts.user_data} if facts.user_data else {})


def _credentials(made: Credentials, now: datetime) -> str:
    document = {
        "Code": "Success",
        "LastUpdated": time.rfc3339(now),
        "Type": "AWS-HMAC",
        "AccessKeyId": made.access_key,
        "SecretAccessKey": made.secret_key,
        "Token": made.token,
        "Expiration": time.rfc3339(datetime.fromtimestamp(made.expires, UTC)),
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def find(found: Any, path: str) -> str | None:
    """The text at a path, or the names below it, one a line; None when there is nothing."""
    for part in filter(None, path.split("/")):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    if isinstance(found, dict):
        return "\n".join(f"{name}/" if isinstance(below, dict) else name for name, below in found.items())
    return str(found()) if callable(found) else str(found)


class Service:
    """The service of one instance; facts are asked for at each request, since they change."""

    def __init__(self, facts: Callable[[], Facts | None], *, issuer: Issuer, sessions: Sessions) -> None:
        self._facts, self._issuer, self._sessions = facts, issuer, sessions

    def application(self) -> web.Application:
        """For an HTTP server on the instance's own wire."""
        app = web.Application()
        app.router.add_put("/{version}/api/token", self._token)
        app.router.add_route("*", "/{tail:.*}", self._read)
        return app

    async def _token(self, request: web.Request) -> web.Response:
        facts = self._facts()
        if facts is None:
            return web.Response(status=404)
        if "X-Forwarded-For" in request.headers:
            return web.Response(status=403)
        asked = request.headers.get(TTL, "")
        if not asked.isdecimal() or not SHORTEST <= int(asked) <= LONGEST:
            return web.Response(status=400)
        channel = request.transport.get_extra_info("socket") if request.transport else None
        if channel is not None and channel.family == socket.AF_INET:
            channel.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, facts.hop_limit)
        token = self._sessions.open(facts.id, int(asked))
        return web.Response(text=token, headers={TTL: asked})

    async def _read(self, request: web.Request) -> web.Response:
        answer = self._answer(request)
        return web.Response(status=answer.status, text=answer.text, content_type=answer.kind)

    def _answer(self, request: web.Request) -> _Answer:
        facts = self._facts()
        if facts is None:
            return _Answer(404)
        if request.method not in ("GET", "HEAD"):
            return _Answer(405)
        if not self._sessions.valid(request.headers.get(TOKEN, ""), facts.id):
            return _Answer(401)
        version, _, path = request.match_info["tail"].partition("/")
        if not version:
            return _Answer(200, "\n".join(VERSIONS))
        if version not in VERSIONS:
            return _Answer(404)
        issue = lambda: self._issuer.issue(facts.role, facts.id)  # noqa: E731 (said once, where it is needed)
        text = find(tree(facts, issue, self._sessions.now()), path)
        return _Answer(404) if text is None else _Answer(200, text)
