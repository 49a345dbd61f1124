"""Speaks to the API as a ServiceAccount, with tokens asked for in its name and renewed in time.

The controller manager runs each controller under a ServiceAccount of its own, so that RBAC holds each to what it needs:
a flaw in one cannot do what another may.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from pynetes.apis.core import serviceaccounts
from pynetes.client.rest import Client
from pynetes.client.transport import Answer, Call, Stream, Transport
from pynetes.component.clock import Clock
from pynetes.component.tracing import Identity
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key

#: How long tokens are asked for, in seconds; they are renewed when a fifth of that is left.
TOKEN_SECONDS = 3600


class ServiceAccountTransport:
    """Sends over `bare`, a transport without identity, what `issuer` may ask tokens for."""

    def __init__(self, bare: Transport, issuer: Client, account: Key, *, clock: Clock) -> None:
        self._bare, self._issuer, self._account, self._clock = bare, issuer, account, clock
        self._token = ""
        self._renew_at = 0.0
        self._lock = asyncio.Lock()

    @property
    def host(self) -> str:
        return self._bare.host

    @property
    def identity(self) -> Identity:
        return self._bare.identity

    async def request(self, call: Call) -> Answer:
        answer = await self._bare.request(await self._signed(call))
        if answer.status == 401:  # the account was made anew, or the signing key changed
            self._token = ""
            answer = await self._bare.request(await self._signed(call))
        return answer

    @asynccontextmanager
    async def stream(self, call: Call, *, timeout: float) -> AsyncIterator[Stream]:
        async with self._bare.stream(await self._signed(call), timeout=timeout) as stream:
            yield stream

    async def close(self) -> None:
        """The bare transport is shared, and closed by whoever opened it."""

    async def _signed(self, call: Call) -> Call:
        async with self._lock:
            if not self._token or self._clock.monotonic() >= self._renew_at:
                await self._renew()
        return replace(call, headers={**call.headers, "Authorization": f"Bearer {self._token}"})

    async def _renew(self) -> None:
        try:
            status = await self._ask()
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            await self._make()
            status = await self._ask()
        left = time.parse(status["expirationTimestamp"]) - self._clock.now()
        self._token = status["token"]
        self._renew_at = self._clock.monotonic() + max(timedelta(), left).total_seconds() * 0.8

    async def _ask(self) -> dict[str, str]:
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {},
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        }
        answer = await self._issuer.create(serviceaccounts.RESOURCE, request, subresource="token", key=self._account)
        status: dict[str, str] = answer["status"]
        return status

    async def _make(self) -> None:
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"namespace": self._account.namespace, "name": self._account.name},
        }
        try:
            await self._issuer.create(serviceaccounts.RESOURCE, account)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
