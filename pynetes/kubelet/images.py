"""Images: whether to pull, and pulling, with back-off. Failures are reasons that the container waits with."""

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pynetes.component.clock import Clock
from pynetes.kubelet import metrics
from pynetes.kubelet.backoff import Backoff
from pynetes.kubelet.cri.runtime import Runtime, RuntimeFailure
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

#: Called with (kind, reason, message) to record an event about the container.
Report = Callable[[str, str, str], None]


class ImageFailure(Exception):
    """The image is not there; reason is what the container waits with."""

    def __init__(self, reason: str, message: str, retry: float = 10.0) -> None:
        super().__init__(message)
        self.reason = reason
        #: Seconds after which another try makes sense.
        self.retry = retry


@dataclass(frozen=True)
class Reference:
    """An image name split into what registries need."""

    domain: str
    name: str
    tag: str


def parse(name: str) -> Reference:
    """Split a name; Docker Hub is the domain of names that carry none."""
    rest, _, digest = name.partition("@")
    head, slash, tail = rest.partition("/")
    explicit = bool(slash) and ("." in head or ":" in head or head == "localhost")
    domain, path = (head, tail) if explicit else ("docker.io", rest)
    path, _, tag = path.partition(":")
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return Reference(domain, path, digest or tag or "latest")


def policy(container: Object) -> str:
    """imagePullPolicy, defaulted by the tag as the API does."""
    given = container.get("imagePullPolicy")
    if given:
        return str(given)
    return "Always" if parse(container.get("image", "")).tag == "latest" else "IfNotPresent"


class Images:
    """Makes images present. Pulls of one image are shared, and at most some run at a time."""

    def __init__(self, runtime: Runtime, clock: Clock, *, parallel: int = 3) -> None:
        self._runtime, self._clock = runtime, clock
        self._backoff = Backoff()
        #: When a pull last failed, from which its back-off counts.
        self._tried: dict[str, datetime] = {}
        self._slots = asyncio.Semaphore(parallel)
        #: Seconds that pods which do not run yet have spent on pulls, by UID.
        self.pulling: dict[str, float] = {}

    async def ensure(
        self, container: Object, sandbox: pb.PodSandboxConfig, secrets: list[Object], report: Report
    ) -> pb.Image:
        """The image, pulled if the policy wants it. Raises ImageFailure."""
        name = container.get("image", "")
        wanted = policy(container)
        present = await self._runtime.image(name)
        if present is not None and wanted != "Always":
            message = f'Container image "{name}" already present on machine and can be accessed by the pod'
            report("Normal", "Pulled", message)
            return present
        if wanted == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            report("Warning", "ErrImageNeverPull", message)
            raise ImageFailure("ErrImageNeverPull", message)
        return await self._pull(name, present, sandbox, secrets, report)

    async def _pull(
        self, name: str, present: pb.Image | None, sandbox: pb.PodSandboxConfig, secrets: list[Object], report: Report
    ) -> pb.Image:
        key = f"{sandbox.metadata.uid}_{name}"
        now = self._clock.now()
        left = self._backoff.left(key, self._tried.get(key, now), now).total_seconds()
        if left > 0:
            message = f'Back-off pulling image "{name}"'
            report("Normal", "BackOff", message)
            raise ImageFailure("ImagePullBackOff", message, left)
        report("Normal", "Pulling", f'Pulling image "{name}"')
        started = self._clock.monotonic()
        try:
            async with self._slots:
                await self._pull_with(name, sandbox, credentials(name, secrets))
        except RuntimeFailure as failure:
            self._backoff.next(key, self._clock.now())
            self._tried[key] = self._clock.now()
            report("Warning", "Failed", f'Failed to pull image "{name}": {failure}')
            report("Warning", "Failed", "Error: ErrImagePull")
            reason = "InvalidImageName" if failure.code == "INVALID_ARGUMENT" else "ErrImagePull"
            raise ImageFailure(reason, str(failure), self._backoff.wait(key).total_seconds()) from failure
        self._backoff.forget(key)
        self._tried.pop(key, None)
        image = await self._runtime.image(name)
        if image is None:
            raise ImageFailure("ErrImagePull", f'image "{name}" is gone right after its pull')
        took = self._clock.monotonic() - started
        uid = sandbox.metadata.uid
        self.pulling[uid] = self.pulling.get(uid, 0.0) + took
        metrics.PULL_SECONDS.observe(took, metrics.size_class(image.size))
        report(
            "Normal", "Pulled", f'Successfully pulled image "{name}" in {took:.3f}s. Image size: {image.size} bytes.'
        )
        return image

    async def _pull_with(self, name: str, sandbox: pb.PodSandboxConfig, found: list[pb.AuthConfig]) -> None:
        """Try each set of credentials, or none at all where there are none."""
        tries: list[pb.AuthConfig | None] = [*found] or [None]
        for index, auth in enumerate(tries):
            try:
                await self._runtime.pull(name, sandbox, auth)
                return
            except RuntimeFailure:
                if index == len(tries) - 1:
                    raise


def credentials(name: str, secrets: list[Object]) -> list[pb.AuthConfig]:
    """Credentials for an image from pull secrets, the most specific path first."""
    reference = parse(name)
    target = f"{reference.domain}/{reference.name}"
    found: list[tuple[int, pb.AuthConfig]] = []
    for secret in secrets:
        for server, entry in _auths(secret).items():
            place = server.removeprefix("https://").removeprefix("http://").rstrip("/")
            if place in ("index.docker.io/v1", "index.docker.io"):
                place = "docker.io"
            if target == place or target.startswith(f"{place}/"):
                found.append((len(place), _auth(entry)))
    return [auth for _, auth in sorted(found, key=lambda pair: -pair[0])]


def _auths(secret: Object) -> dict[str, Any]:
    data = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in data:
            return dict(json.loads(base64.b64decode(data[".dockerconfigjson"])).get("auths") or {})
        if ".dockercfg" in data:
            return dict(json.loads(base64.b64decode(data[".dockercfg"])))
    except ValueError:
        return {}
    return {}


def _auth(entry: dict[str, str]) -> pb.AuthConfig:
    user, password = entry.get("username", ""), entry.get("password", "")
    if not user and entry.get("auth"):
        user, _, password = base64.b64decode(entry["auth"]).decode(errors="replace").partition(":")
    return pb.AuthConfig(username=user, password=password, identity_token=entry.get("identitytoken", ""))
