"""The loop between changes and the kernel: the first change goes at once, those that come meanwhile go together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY, exponential
from pynetes.proxy import backend, kernel
from pynetes.proxy.backend import Backend
from pynetes.proxy.tracker import Changes, Tracker

_LOG = logging.getLogger(__name__)
_BUCKETS = exponential(0.001, 2, 15)
#: A quarter and half a second, each second of a minute, and ever longer steps up to five minutes.
_PROGRAMMED = (0.25, 0.5, *map(float, (*range(1, 60), *range(60, 120, 5), *range(120, 301, 30))))
SYNC_SECONDS = REGISTRY.histogram(
    "kubeproxy_sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds.", "ip_family", buckets=_BUCKETS
)
PROGRAMMING_SECONDS = REGISTRY.histogram(
    "kubeproxy_network_programming_duration_seconds",
    "From the first change of a batch until the kernel has it, in seconds.",
    "ip_family",
    buckets=_PROGRAMMED,
)
LAST_SYNC = REGISTRY.gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "The last time proxy rules were synced.", "ip_family"
)
LAST_QUEUED = REGISTRY.gauge(
    "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "The last time a sync was queued."
)
SERVICE_CHANGES = REGISTRY.counter(
    "kubeproxy_sync_proxy_rules_service_changes_total", "Cumulative Service changes.", "ip_family"
)
#: Of each mode, as upstream names them.
_FAILURES = {
    "nftables": REGISTRY.counter(
        "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
        "Cumulative proxy nftables sync failures",
        "ip_family",
    ),
    "iptables": REGISTRY.counter(
        "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
        "Cumulative proxy iptables restore failures",
        "ip_family",
    ),
}
PARTIAL_SYNCS = REGISTRY.histogram(
    "kubeproxy_sync_partial_proxy_rules_duration_seconds", "Latency of partial resyncs.", "ip_family", buckets=_BUCKETS
)
FULL_SYNCS = REGISTRY.histogram(
    "kubeproxy_sync_full_proxy_rules_duration_seconds", "Latency of full resyncs.", "ip_family", buckets=_BUCKETS
)


class Proxier:
    """Owns the kernel's rules. Feed the tracker, then call `changed`."""

    def __init__(
        self,
        tracker: Tracker,
        make: Callable[[int], Backend],
        *,
        clock: Clock,
        min_sync_seconds: float = 0.01,
        check_seconds: float = 30.0,
        after: Callable[[Tracker], Awaitable[None]] | None = None,
        mode: str = "nftables",
    ) -> None:
        """after: called when the kernel has what the tracker had; mode: nftables or iptables, whose failures count."""
        self.tracker, self.clock = tracker, clock
        #: When the rules last were what was wanted, by the wall clock; 0 before the first time.
        self.synced_at = 0.0
        #: When a change came that has not reached the kernel yet; 0 when there is none.
        self.waiting_since = 0.0
        self._make, self._min, self._check = make, min_sync_seconds, check_seconds
        self._backends: dict[int, Backend] = {}
        self._broken: set[int] = set()
        self._event = asyncio.Event()
        self._after = after
        self._failures = _FAILURES[mode]

    def changed(self) -> None:
        """The tracker has news."""
        if not self.waiting_since:
            self.waiting_since = self.clock.now().timestamp()
        LAST_QUEUED.set(self.clock.now().timestamp())
        self._event.set()

    async def run(self) -> None:
        """Sync until cancelled. The tracker must have heard of everything that exists when this starts."""
        self.changed()
        while True:
            if await self._wait():
                self._event.clear()
                await self.sync()
                if self._after:
                    await self._after(self.tracker)
                await self.clock.sleep(self._min)
            else:
                await self._verify()

    async def sync(self) -> None:
        """Bring what the tracker has into the kernel, once."""
        first, changes = self.waiting_since, self.tracker.take()
        self.waiting_since = 0.0
        for family in (4, 6):
            mine = backend.of_family(changes, family)
            if family in self._broken:
                await self._start(family)
            elif family not in self._backends:
                # Without a single IPv6 Service there is no reason to ask the kernel for IPv6.
                if family == 4 or mine:
                    await self._start(family)
            elif mine:
                await self._sync(family, mine)
            else:
                continue
            if first and mine:
                PROGRAMMING_SECONDS.observe(max(0.0, self.clock.now().timestamp() - first), f"IPv{family}")
        if not self._broken:
            self.synced_at = self.clock.now().timestamp()
        await self._forget_udp(changes)

    async def _sync(self, family: int, changes: Changes) -> None:
        label = f"IPv{family}"
        SERVICE_CHANGES.inc(label, by=len(changes))
        started = self.clock.monotonic()
        try:
            done = await self._backends[family].sync(changes, cause=self.tracker.revision)
        except kernel.KernelError as error:
            self._failures.inc(label)
            _LOG.warning(logs.fact("the difference was refused, sending everything", family=label, error=error))
            await self._start(family)
            return
        took = self.clock.monotonic() - started
        SYNC_SECONDS.observe(took, label)
        PARTIAL_SYNCS.observe(took, label)
        LAST_SYNC.set(self.clock.now().timestamp(), label)
        if done:
            _LOG.debug(logs.fact("rules synced", family=label, did=done))

    async def _start(self, family: int) -> None:
        label, started = f"IPv{family}", self.clock.monotonic()
        one = self._backends.setdefault(family, self._make(family))
        try:
            done = await one.start(backend.of_family(self.tracker.all(), family))
        except kernel.KernelError as error:
            self._failures.inc(label)
            self._broken.add(family)
            _LOG.error(logs.fact("rules could not be made, will try again", family=label, error=error))
            return
        self._broken.discard(family)
        took = self.clock.monotonic() - started
        SYNC_SECONDS.observe(took, label)
        FULL_SYNCS.observe(took, label)
        LAST_SYNC.set(self.clock.now().timestamp(), label)
        _LOG.info(logs.fact("rules made", family=label, did=done))

    async def _wait(self) -> bool:
        """Whether there is news; False when it is time to look after the tables instead."""
        try:
            async with asyncio.timeout(1.0 if self._broken else self._check):
                await self._event.wait()
        except TimeoutError:
            return bool(self._broken)
        return True

    async def _verify(self) -> None:
        """Somebody else may have flushed the tables, as a firewall's restart does."""
        for family, one in self._backends.items():
            if not await one.present():
                _LOG.warning(logs.fact("the rules are gone, making them again", family=f"IPv{family}"))
                await self._start(family)

    async def _forget_udp(self, changes: Changes) -> None:
        for arguments in backend.stale_udp(changes):
            try:
                await kernel.run(["conntrack", "-D", "-p", "udp", *arguments])
            except kernel.KernelError as error:
                # Its exit status also says "nothing was found", which is the usual case.
                if "not installed" in str(error):
                    _LOG.warning(logs.fact("stale UDP flows stay", error=error))
                    return
