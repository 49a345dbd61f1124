"""The nginx process: started with a configuration that it has accepted, reloaded with another, fed by its socket.

A new file is tried (`nginx -t`) beside the one in use and takes its place only when nginx accepts it; old workers
finish their requests after a reload. Of the tables only those that changed are sent.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from pynetes.component import command, logs
from pynetes.component.metrics import REGISTRY
from pynetes.component.remedy import RemedyError
from pynetes.ingress.nginx import configuration
from pynetes.ingress.nginx.configuration import Settings

#: Seconds within which nginx must listen after its start.
STARTS_WITHIN = 20.0
#: Seconds that requests may go on after a stop.
GRACE = 30.0
_LOG = logging.getLogger(__name__)
_GOOD = REGISTRY.gauge(
    "nginx_ingress_controller_config_last_reload_successful",
    "Whether the last configuration reload attempt was successful.",
)
_AT = REGISTRY.gauge(
    "nginx_ingress_controller_config_last_reload_successful_timestamp_seconds",
    "Timestamp of the last successful configuration reload.",
)
_RELOADS = REGISTRY.counter("nginx_ingress_controller_success", "Cumulative number of reload operations.")
_ERRORS = REGISTRY.counter("nginx_ingress_controller_errors", "Cumulative number of errors during reloads.")
_FED = REGISTRY.histogram(
    "pynetes_ingress_table_update_duration_seconds", "Time until nginx had taken over changed tables."
)


class Rejected(RemedyError):
    """nginx does not accept a configuration; the message has its own words."""


class Nginx:
    """One nginx; `run` is a folder of its own."""

    def __init__(self, run: Path, *, binary: str = "nginx") -> None:
        self.run, self._binary = run, binary
        self.settings: Settings | None = None
        self._fed = False
        self._session: aiohttp.ClientSession | None = None
        self._process: asyncio.subprocess.Process | None = None

    @contextlib.asynccontextmanager
    async def serving(self, settings: Settings) -> AsyncIterator[None]:
        """nginx runs while the block does."""
        self.run.mkdir(parents=True, exist_ok=True)
        # Workers, who are nobody in particular, reach their temporary files in it and list nothing.
        self.run.chmod(0o711)
        (self.run / configuration.SOCKET).unlink(missing_ok=True)
        await self._accept(settings)
        self.settings = settings
        argv = [self._binary, "-p", str(self.run), "-c", str(self.run / "nginx.conf"), "-e", "stderr"]
        # No connection is kept: after a reload it would lead to a worker that is about to end.
        connector = aiohttp.UnixConnector(str(self.run / configuration.SOCKET), force_close=True)
        async with (
            command.running(argv, stop=signal.SIGQUIT, timeout=GRACE) as self._process,
            aiohttp.ClientSession("http://nginx", connector=connector) as self._session,
        ):
            await self._listening(configuration.mark(settings))
            _GOOD.set(1)
            _AT.set(time.time())
            yield

    async def ended(self) -> None:
        """Wait until nginx ends by itself, which it should not; raises then."""
        assert self._process is not None
        code = await self._process.wait()
        raise Rejected(f"nginx ended with status {code}", "its last words are above")

    async def apply(self, settings: Settings) -> bool:
        """Let nginx take over other settings; whether that was needed. Raises Rejected, having changed nothing."""
        if settings == self.settings:
            return False
        try:
            await self._accept(settings)
        except Rejected:
            _GOOD.set(0)
            _ERRORS.inc()
            raise
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGHUP)
        await self._listening(configuration.mark(settings))
        self.settings = settings
        _GOOD.set(1)
        _AT.set(time.time())
        _RELOADS.inc()
        _LOG.info(logs.fact("reloaded nginx", ports=[each.port for each in settings.listeners]))
        return True

    async def feed(self, tables: Mapping[str, bytes], changed: Iterable[str]) -> int:
        """Send those of `tables` whose keys are changed; one that is no more there is deleted. How many were sent.

        After a failure, and at first, everything is sent instead of what was there."""
        keys = set(changed) if self._fed else set(tables)
        if self._fed and not keys:
            return 0
        began = time.monotonic()
        given = {key: tables[key].decode() for key in keys if key in tables}
        await self._post({"set": given, "delete": [key for key in keys if key not in tables], "reset": not self._fed})
        _FED.observe(time.monotonic() - began)
        self._fed = True
        return len(keys)

    def forget(self) -> None:
        """Take nothing for granted: the next feed sends everything."""
        self._fed = False

    async def counts(self) -> dict[str, Any]:
        """The requests that were counted, and the connections that are open."""
        assert self._session is not None
        async with self._session.get("/counts") as answer:
            found: dict[str, Any] = orjson.loads(await answer.read())
            return found

    async def _post(self, change: dict[str, Any]) -> None:
        assert self._session is not None
        async with self._session.post("/tables", data=orjson.dumps(change)) as answer:
            said = await answer.text()
            if answer.status != 200:
                self.forget()
                raise Rejected(f"nginx did not take the tables: {said.strip()}", "give it more with --table-memory")

    async def _accept(self, settings: Settings) -> None:
        """Write the file if nginx accepts it."""
        tried = self.run / "nginx.conf.new"
        tried.write_text(configuration.render(settings, self.run))
        argv = [self._binary, "-t", "-q", "-p", str(self.run), "-c", str(tried), "-e", "stderr"]
        result = await command.run(argv, check=False, timeout=60)
        if result.code:
            said = (result.err.strip() or result.out.strip()).splitlines()[-3:]
            raise Rejected(
                f"nginx does not accept the configuration: {' '.join(said)}", "this is a bug; the old one stays"
            )
        tried.replace(self.run / "nginx.conf")

    async def _listening(self, mark: str) -> None:
        """Wait for a worker with this configuration."""
        assert self._session is not None and self._process is not None
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                async with self._session.get("/tables") as answer:
                    if orjson.loads(await answer.read()).get("mark") == mark:
                        return
                problem = "it keeps its old configuration"
            except aiohttp.ClientError as error:
                problem = str(error)
            if self._process.returncode is not None or time.monotonic() > deadline:
                raise Rejected(f"nginx does not listen: {problem}", "its last words are above")
            await asyncio.sleep(0.02)
