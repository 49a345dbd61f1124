"""`pynetes scheduler`: places pods on nodes, as kube-scheduler."""

import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pynetes.client import guard
from pynetes.client.kubeconfig import KubeconfigError
from pynetes.client.leaderelection import LeaderElector, identity
from pynetes.client.rest import Client
from pynetes.component import config, logs, serving, spans, tasks, tls
from pynetes.component.clock import SystemClock
from pynetes.component.health import Checks
from pynetes.rpc.otlp import exporting
from pynetes.scheduler import metrics
from pynetes.scheduler.config import Config
from pynetes.scheduler.scheduler import Scheduler

COMPONENT = "kube-scheduler"


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM; the exit status."""
    options = config.parse(Config, argv, prog="pynetes scheduler", description=__doc__ or "")
    logs.setup(COMPONENT, verbosity=options.verbosity)
    try:
        client = Client.from_kubeconfig(options.kubeconfig, component=COMPONENT)
    except KubeconfigError as error:
        print(f"pynetes scheduler: {error}", file=sys.stderr)
        return 1
    return tasks.run(lambda: run(options, client))


async def run(options: Config, client: Client) -> None:
    """Serve health and metrics, win the election, schedule."""
    scheduler, checks = Scheduler(client), Checks()
    elector = LeaderElector(client, COMPONENT, clock=SystemClock(), holder=identity(options.secure_port))
    checks.ready("scheduler", lambda: scheduler.unsynced() if elector.leading or not options.leader_elect else None)
    exported = exporting(spans.load(options.tracing_config_file), COMPONENT, paths_socket=options.paths_socket)
    shown = serving.serve_paths(options.paths_socket, COMPONENT)
    async with shown, exported, _serving(options, checks, client, scheduler):
        try:
            await (elector.run(scheduler.run) if options.leader_elect else scheduler.run())
        finally:
            await client.close()


@asynccontextmanager
async def _serving(options: Config, checks: Checks, client: Client, scheduler: Scheduler) -> AsyncIterator[None]:
    if not options.secure_port:
        yield
        return
    app = serving.application(checks)
    metrics.add_resources(app, scheduler.cache)
    app.middlewares.append(guard.middleware(client, SystemClock()))
    async with serving.serve(app, host=options.bind_address, port=options.secure_port, context=_context(options)):
        yield


def _context(options: Config) -> ssl.SSLContext:
    if not options.tls_cert_file:
        return guard.self_signed_context(("localhost",), options.client_ca_file)
    authorities = [Path(options.client_ca_file)] if options.client_ca_file else []
    return tls.server_context(Path(options.tls_cert_file), Path(options.tls_private_key_file), client_cas=authorities)
