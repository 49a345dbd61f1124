"""The one seam to boto3, which is synchronous: each call runs in a thread, is paced, and fails as a CloudError.

The SDK's own retries are off: ours know of the pace, and a test's clock.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import botocore.loaders
import botocore.session

from pynetes.cloud import names
from pynetes.cloud.calls import Calls
from pynetes.cloud.provider import Absent, CloudError, Denied, Refused, Throttled
from pynetes.cloud.providers.aws.config import Config
from pynetes.component.clock import Clock
from pynetes.component.tracing import Identity

THREADS = 8
SERVICES = ("ec2", "elb", "elbv2")
_THROTTLED = frozenset(
    ("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown")
)
_DENIED = frozenset(
    (
        "AuthFailure",
        "UnauthorizedOperation",
        "AccessDenied",
        "AccessDeniedException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
    )
)
_REFUSED = frozenset(
    (
        "VolumeInUse",
        "InvalidSubnet",
        "CertificateNotFound",
        "UnsupportedProtocol",
        "InvalidConfigurationRequest",
        "ValidationError",
        "InvalidParameterValue",
    )
)


@cache
def _models() -> botocore.loaders.Loader:
    """The SDK's descriptions of its services, megabytes of JSON: read once per process."""
    return botocore.loaders.create_loader()


class Sdk:
    """Clients for one region."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config, self.clock = config, clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aws")
        core = botocore.session.get_session()
        core.register_component("data_loader", _models())
        session = boto3.session.Session(botocore_session=core, region_name=config.region)
        settings = botocore.config.Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=THREADS,
            user_agent_extra="pynetes",
        )
        self._clients = {
            name: session.client(name, endpoint_url=config.endpoints.get(name) or None, config=settings)
            for name in SERVICES
        }
        credentials = session.get_credentials()
        who = f"access key {credentials.access_key}" if credentials else "no credentials"
        self._calls = Calls("aws", clock=clock, identity=Identity(subject=who, issuer=config.region))

    async def close(self) -> None:
        """End its threads and connections."""
        for client in self._clients.values():
            client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def cluster_tag(self) -> str:
        """Its key; the value is owned on what we make."""
        return names.owned(self.config.cluster)

    async def call(self, service: str, operation: str, *, path: int, write: bool = False, **given: Any) -> Any:
        """One request. Raises CloudError."""
        method = getattr(self._clients[service], operation)
        return await self._make(f"{service}.{operation}", lambda: method(**given), path=path, write=write)

    async def pages(self, service: str, operation: str, key: str, *, path: int, **given: Any) -> list[Any]:
        """All items of a describe call, as many requests as it has pages. Raises CloudError."""
        client = self._clients[service]

        def read() -> list[Any]:
            found = client.get_paginator(operation).paginate(**given)
            return [item for page in found for item in page.get(key) or ()]

        listed: list[Any] = await self._make(f"{service}.{operation}", read, path=path, write=False)
        return listed

    async def _make(self, name: str, work: Any, *, path: int, write: bool) -> Any:
        async def once() -> Any:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
            except botocore.exceptions.ClientError as error:
                raise translated(error) from None
            except botocore.exceptions.NoCredentialsError as error:
                raise Denied(str(error)) from None
            except botocore.exceptions.ParamValidationError as error:
                raise Refused(str(error)) from None
            except botocore.exceptions.BotoCoreError as error:
                raise CloudError(str(error)) from None

        return await self._calls.make(name, once, path=path, write=write)

    def is_ours(self, found: Mapping[str, str]) -> bool:
        """Whether tags say that the cluster owns it."""
        return found.get(self.cluster_tag) == "owned"


def translated(error: botocore.exceptions.ClientError) -> CloudError:
    """What an answer means to a controller."""
    code = error.response["Error"].get("Code", "")
    text = f"{code}: {error.response['Error'].get('Message', '')}"
    if code in _THROTTLED:
        return Throttled(text)
    if code in _DENIED:
        return Denied(text)
    if code.endswith(("NotFound", "NotFoundException", ".Malformed")):
        return Absent(text)
    return Refused(text) if code in _REFUSED else CloudError(text)


def tags(listed: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """A list of Key and Value as a mapping."""
    return {each["Key"]: each.get("Value", "") for each in listed or ()}


def tag_list(given: Mapping[str, str]) -> list[dict[str, str]]:
    """The reverse of tags."""
    return [{"Key": key, "Value": value} for key, value in sorted(given.items())]


def filters(**wanted: str | Sequence[str]) -> list[dict[str, Any]]:
    """EC2's filters: vpc_id="v" is vpc-id, tag_key is tag-key."""
    return [
        {"Name": name.replace("_", "-"), "Values": [value] if isinstance(value, str) else list(value)}
        for name, value in wanted.items()
        if value
    ]
