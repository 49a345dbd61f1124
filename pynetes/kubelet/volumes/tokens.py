"""ServiceAccount tokens for pods: asked for once, kept, and renewed when four fifths of their life are over."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pynetes.component.clock import Clock
from pynetes.machinery import time
from pynetes.machinery.meta import Object

#: (namespace, service account, TokenRequest) → the answered TokenRequest.
Ask = Callable[[str, str, Object], Awaitable[Object]]
LONGEST = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class _Kept:
    token: str
    renew_at: datetime
    expires: str


class Tokens:
    """Tokens by pod, audience and lifetime."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask, self._clock = ask, clock
        self._kept: dict[tuple[str, str, int], _Kept] = {}

    async def get(self, pod: Object, projection: Object) -> str:
        """The token for a serviceAccountToken projection of a pod. Raises StatusError."""
        seconds = int(projection.get("expirationSeconds") or 3600)
        return (await self._current(pod, projection.get("audience") or "", seconds)).token

    async def issued(self, pod: Object, audience: str, seconds: int) -> Object:
        """A token of a pod as CSI drivers get it: token and expirationTimestamp. Raises StatusError."""
        kept = await self._current(pod, audience, seconds)
        return {"token": kept.token, "expirationTimestamp": kept.expires}

    async def _current(self, pod: Object, audience: str, seconds: int) -> _Kept:
        key = (pod["metadata"]["uid"], audience, seconds)
        kept = self._kept.get(key)
        if kept is None or self._clock.now() >= kept.renew_at:
            kept = self._kept[key] = await self._fresh(pod, audience, seconds)
        return kept

    def forget(self, uid: str) -> None:
        """Drop the tokens of a pod that is gone."""
        for key in [key for key in self._kept if key[0] == uid]:
            del self._kept[key]

    async def _fresh(self, pod: Object, audience: str, seconds: int) -> _Kept:
        metadata = pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec: Object = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if audience:
            spec["audiences"] = [audience]
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec}
        account = pod["spec"].get("serviceAccountName") or "default"
        answer = await self._ask(metadata.get("namespace", "default"), account, request)
        now = self._clock.now()
        life = (time.parse(answer["status"]["expirationTimestamp"]) - now).total_seconds()
        renew_at = now + timedelta(seconds=min(life * 0.8, LONGEST))
        return _Kept(answer["status"]["token"], renew_at, answer["status"]["expirationTimestamp"])
