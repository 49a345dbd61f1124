"""A client of the instance metadata service (IMDSv2): what a node can learn about itself from its cloud.

A session token is asked for first and used for everything after; nothing is sent without one.
"""

import time
from dataclasses import dataclass
from types import TracebackType

import aiohttp

from pynetes.component import tracing

#: Where clouds have it, and what is asked for it with.
ADDRESS = "http://169.254.169.254"
TTL, TOKEN = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
SECONDS = 300
TIMEOUT = 2.0
PATH = 27


class NoMetadata(Exception):
    """The service does not answer, or does not know what was asked for."""


@dataclass(frozen=True, kw_only=True)
class Whoami:
    """What a kubelet needs."""

    instance: str
    zone: str
    type: str
    region: str
    address: str
    #: aws:///eu-central-1a/i-0123: the partition is aws, or what else the cloud is.
    provider_id: str


class Metadata:
    """`async with Metadata() as metadata: await metadata.get("instance-id")`."""

    def __init__(self, url: str = ADDRESS, *, source: str = "kubelet") -> None:
        self._url, self._source = url.rstrip("/"), source
        self._session: aiohttp.ClientSession | None = None
        self._token = ""

    async def __aenter__(self) -> "Metadata":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, path: str) -> str:
        """The text at meta-data/PATH. Raises NoMetadata."""
        if not self._token:
            self._token = await self._ask("PUT", "api/token", {TTL: str(SECONDS)})
        return await self._ask("GET", f"meta-data/{path}", {TOKEN: self._token})

    async def whoami(self) -> Whoami:
        """All that a kubelet needs. Raises NoMetadata."""
        instance, zone = await self.get("instance-id"), await self.get("placement/availability-zone")
        partition = (await self.get("services/partition")).partition("-")[0]
        return Whoami(
            instance=instance,
            zone=zone,
            type=await self.get("instance-type"),
            region=await self.get("placement/region"),
            address=await self.get("local-ipv4"),
            provider_id=f"{partition}:///{zone}/{instance}",
        )

    async def _ask(self, method: str, path: str, headers: dict[str, str]) -> str:
        assert self._session is not None
        began, problem = time.monotonic(), ""
        try:
            async with self._session.request(method, f"{self._url}/latest/{path}", headers=headers) as answer:
                if answer.status != 200:
                    problem = f"{self._url}/latest/{path} answered {answer.status}"
                    raise NoMetadata(problem)
                return await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = f"{self._url} does not answer: {type(error).__name__} {error}"
            raise NoMetadata(problem) from None
        finally:
            self._record(f"{method} {path}", time.monotonic() - began, problem)

    def _record(self, action: str, seconds: float, problem: str) -> None:
        identity = tracing.Identity(subject="session token (IMDSv2)", issuer=self._url)
        tracing.RECORDER.record(
            tracing.Interaction(
                path=PATH,
                at=tracing.now(),
                source=self._source,
                target="metadata service",
                action=action,
                seconds=seconds,
                error=problem,
            ),
            identity,
        )
