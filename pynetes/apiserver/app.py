"""Puts the API server together: store, cache, policies, verbs, filters, server.

    server = build(Config(...), backend)            # pure: nothing runs yet
    async with running(server): ...                 # cache filled, start-up objects made, listening

`Server.handle(request)` is the whole chain without a socket, for the in-process transport.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

from pynetes import apis
from pynetes.apiserver import healthchecks, identity, nonresource, telemetry
from pynetes.apiserver.admission.chain import Chain, plugins
from pynetes.apiserver.aggregator.handler import Aggregator
from pynetes.apiserver.api import Api
from pynetes.apiserver.audit import policy
from pynetes.apiserver.audit.log import LogFile
from pynetes.apiserver.audit.webhook import Limits, Webhook
from pynetes.apiserver.authn import union as authn
from pynetes.apiserver.authn.service_account import Issuer
from pynetes.apiserver.authn.webhook import poster
from pynetes.apiserver.authz import union as authz
from pynetes.apiserver.authz.webhook import AccessWebhook
from pynetes.apiserver.bootstrap import Bootstrap, host_address
from pynetes.apiserver.config import Config
from pynetes.apiserver.crd.definitions import Definitions
from pynetes.apiserver.discovery import Discovery
from pynetes.apiserver.endpoints import connect, dispatch
from pynetes.apiserver.filters import chain
from pynetes.apiserver.filters.audit import Audit, Sink
from pynetes.apiserver.filters.authentication import Authenticate
from pynetes.apiserver.filters.authorization import Authorize
from pynetes.apiserver.filters.fairness import Fairness
from pynetes.apiserver.filters.impersonation import Impersonate
from pynetes.apiserver.filters.inflight import InFlight
from pynetes.apiserver.filters.timeout import Timeout
from pynetes.apiserver.flowcontrol.dangling import Dangling
from pynetes.apiserver.http import Filter
from pynetes.apiserver.nonresource import Exposition, own_metrics
from pynetes.apiserver.objects import Context, Settings
from pynetes.apiserver.openapi import OpenAPI
from pynetes.apiserver.remote import sender
from pynetes.apiserver.served import Served
from pynetes.apiserver.server import TLS, Server
from pynetes.apiserver.stored import Stored
from pynetes.component.clock import Clock, SystemClock
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.storage.backend import Backend
from pynetes.storage.backends import compact_regularly
from pynetes.storage.cache import Cacher
from pynetes.storage.encryption.backend import EncryptedBackend


class APIServer(Server):
    """The server and what it stands on."""

    def __init__(
        self, config: Config, backend: Backend, clock: Clock, exposition: Exposition, last: Sequence[Filter]
    ) -> None:
        served = Served(apis.load())
        cacher = Cacher(backend, clock, [resource for resource in served if resource.stored])
        stored = Stored(backend, cacher)
        authentication = authn.build(config, stored, clock)
        authorizer = modes_of(config, stored, clock)
        context = Context(
            objects=stored,
            clock=clock,
            authorizer=authorizer,
            settings=settings_of(config),
            authentication=authentication,
            issuer=issuer_of(config),
            rbac=authorizer.rbac if authorizer.by_rules else None,
            kind=served.by_kind,
            alike=served.alike,
            prepare=self._prepare,
        )
        api = Api(
            config=config,
            clock=clock,
            backend=backend,
            cacher=cacher,
            served=served,
            chain=Chain(context, plugins(config.enable_admission_plugins, config.disable_admission_plugins)),
            context=context,
        )
        stored.api = api
        self.config, self.api, self.cacher, self.stored = config, api, cacher, stored
        telemetry.show(cacher, context.settings)
        self.bootstrap = Bootstrap(config, stored)
        self.definitions = Definitions(api, stored)
        self.checks = healthchecks.build(
            self.bootstrap,
            cached=lambda: cacher.listed,
            answers=cacher.answers,
            loaded=lambda: self.definitions.loaded,
            stopping=lambda: self.draining,
        )
        if isinstance(backend, EncryptedBackend):
            self.checks.ready("kms-providers", backend.problem)
        self.aggregator = Aggregator(stored, config, clock)
        self.dangling = Dangling(stored, clock)
        discovery = Discovery(served, address_of(config), self.aggregator)

        async def scraped() -> str:
            await telemetry.measure(backend, "etcd-0" if config.etcd_servers else "embedded-0")
            return await exposition()

        others = nonresource.build(config, served, self.checks, discovery, OpenAPI(served), authentication, scraped)
        self.audit = audit_of(config, clock)
        filters = chain.order(
            Authenticate(authentication),
            Impersonate(authorizer),
            room_of(config, stored),
            Authorize(authorizer),
            Timeout(config.request_timeout),
            self.audit,
        )
        verbs = dispatch.build(api, others, connect.build(context, api.chain, config))
        super().__init__(chain.build((*filters, *last), self.aggregator.over(verbs)), clock=clock)
        # The aggregator and the verbs have a say too.
        self.links = len(filters) + len(last) + 2

    async def _prepare(self, resource: Resource, objs: Iterable[Object], to: str) -> None:
        await self.api.conversions.ready(resource, objs, to)

    def soon(self, then: Callable[[bool], None]) -> None:
        """Once the cache shows every write acknowledged before this call."""
        self.cacher.soon(then)

    async def run(self, *, tls: TLS | None = None, ready: "asyncio.Event | None" = None) -> None:
        """Serve until cancelled; sets `ready` once everything answers."""
        async with running(self, tls=tls):
            if ready is not None:
                ready.set()
            await asyncio.get_running_loop().create_future()


def build(
    config: Config,
    backend: Backend,
    clock: Clock | None = None,
    *,
    exposition: Exposition = own_metrics,
    last: Sequence[Filter] = (),
) -> APIServer:
    """Put one together. Raises OSError or ValueError for a file or value that is wrong.

    last are filters between all others and the verbs: they see who asks for what, once that is allowed."""
    return APIServer(config, backend, clock or SystemClock(), exposition, last)


@asynccontextmanager
async def running(server: APIServer, *, tls: TLS | None = None, listen: bool = True) -> AsyncIterator[APIServer]:
    """Fill the cache, listen (unless the in-process way in is enough), make the start-up objects, and clean up."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(server.cacher.run())]
        try:
            if isinstance(server.api.backend, EncryptedBackend):
                tasks.append(group.create_task(server.api.backend.run(server.clock)))
            await server.cacher.ready()
            await server.definitions.load()
            for sink in server.audit.delivering if server.audit else ():
                tasks.append(group.create_task(sink.run()))
            tasks.append(group.create_task(server.definitions.follow()))
            tasks.append(group.create_task(server.aggregator.follow()))
            tasks.append(group.create_task(server.dangling.follow()))
            interval = server.config.etcd_compaction_interval
            tasks.append(group.create_task(compact_regularly(server.api.backend, server.clock, interval)))
            if listen:
                host, port = server.config.bind_address, server.config.secure_port
                server.most_connections = server.config.max_connections_per_client
                server.most_handshakes = server.config.max_handshakes_per_client
                await server.listen(group, host=host, port=port, tls=tls, shared=server.config.workers > 1)
            await server.bootstrap.run(server.port)
            server.cacher.settle()
            tasks.append(group.create_task(server.bootstrap.follow_authorities()))
            if server.config.enabled(identity.FEATURE):
                own = identity.IdentityLease(server.stored, server.clock, address_of(server.config, server.port))
                tasks.append(group.create_task(own.follow()))
            yield server
        finally:
            await server.shutdown()
            if server.audit is not None:
                server.audit.close()
            for task in tasks:
                task.cancel()


def address_of(config: Config, port: int = 0) -> str:
    """HOST:PORT where others reach this server."""
    return f"{config.advertise_address or host_address(config.bind_address)}:{port or config.secure_port}"


def settings_of(config: Config) -> Settings:
    """The part of the configuration that policies and the registry see."""
    first, _, last = config.service_node_port_range.partition("-")
    return Settings(
        service_ranges=tuple(ip_network(text) for text in config.service_cluster_ip_range),
        node_ports=range(int(first), int(last) + 1),
        issuer=config.service_account_issuer[0],
        audiences=config.api_audiences or config.service_account_issuer,
        max_token_seconds=config.service_account_max_token_expiration,
        extend_token_expiration=config.service_account_extend_token_expiration,
        allow_privileged=config.allow_privileged,
        not_ready_seconds=config.default_not_ready_toleration_seconds,
        unreachable_seconds=config.default_unreachable_toleration_seconds,
        projected_configmaps=tuple(pair_of(text) for text in config.service_account_projected_configmaps),
    )


def pair_of(text: str) -> tuple[str, str]:
    """NAME:KEY taken apart. Raises ValueError."""
    name, _, key = text.partition(":")
    if not name or not key:
        raise ValueError(f"--service-account-projected-configmaps: {text!r} is not NAME:KEY")
    return name, key


def issuer_of(config: Config) -> Issuer | None:
    """Signs ServiceAccount tokens, where a key is given."""
    if not config.service_account_signing_key_file:
        return None
    return Issuer(config.service_account_issuer[0], Path(config.service_account_signing_key_file).read_bytes())


def audit_of(config: Config, clock: Clock) -> Audit | None:
    """None without a policy. Raises OSError or ValueError."""
    if not config.audit_policy_file:
        return None
    sinks: list[Sink] = []
    if config.audit_log_path:
        limits = config.audit_log_maxsize, config.audit_log_maxbackup, config.audit_log_maxage
        sinks.append(LogFile(config.audit_log_path, clock, limits=limits, compress=config.audit_log_compress))
    if not config.audit_webhook_config_file:
        return Audit(policy.load(config.audit_policy_file), tuple(sinks), clock)
    if config.audit_webhook_mode != "batch":
        raise ValueError(f"--audit-webhook-mode {config.audit_webhook_mode}: only batch is known")
    wanted = Limits(
        buffer=config.audit_webhook_batch_buffer_size,
        batch=config.audit_webhook_batch_max_size,
        wait=config.audit_webhook_batch_max_wait,
        qps=config.audit_webhook_batch_throttle_qps,
        burst=config.audit_webhook_batch_throttle_burst,
        backoff=config.audit_webhook_initial_backoff,
        largest_event=config.audit_webhook_truncate_enabled and config.audit_webhook_truncate_max_event_size,
        largest_batch=config.audit_webhook_truncate_max_batch_size,
    )
    webhook = Webhook(sender(config.audit_webhook_config_file), clock, wanted)
    return Audit(policy.load(config.audit_policy_file), (*sinks, webhook), clock, delivering=(webhook,))


def room_of(config: Config, objects: Stored) -> InFlight | Fairness:
    """Priority and fairness over all seats; without it, plain limits."""
    seats = config.max_requests_inflight + config.max_mutating_requests_inflight
    if not config.enable_priority_and_fairness or not seats:
        return InFlight(config.max_requests_inflight, config.max_mutating_requests_inflight)
    # As upstream: a quarter of the request's time may be spent waiting.
    return Fairness(objects, seats=seats, patience=config.request_timeout / 4)


def modes_of(config: Config, objects: Stored, clock: Clock) -> authz.Modes:
    """Who decides. Raises OSError or ValueError."""
    if not config.authorization_config:
        return authz.Modes(config.authorization_mode or ("AlwaysAllow",), objects, access_of(config, clock))
    if config.authorization_mode or config.authorization_webhook_config_file:
        raise ValueError("--authorization-config excludes --authorization-mode and --authorization-webhook-config-file")
    return authz.Modes.configured(config.authorization_config, objects, clock)


def access_of(config: Config, clock: Clock) -> AccessWebhook | None:
    """What mode Webhook asks. Raises ValueError."""
    if not config.authorization_webhook_config_file:
        return None
    return AccessWebhook(
        poster(config.authorization_webhook_config_file),
        clock,
        allowed=config.authorization_webhook_cache_authorized_ttl,
        denied=config.authorization_webhook_cache_unauthorized_ttl,
    )
