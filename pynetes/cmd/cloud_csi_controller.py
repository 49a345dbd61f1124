"""`pynetes cloud-csi-controller`: the CSI controller service for a cloud's disks, on a Unix socket."""

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from pynetes.client.kubeconfig import KubeconfigError
from pynetes.client.rest import Client
from pynetes.cloud import csi, providers
from pynetes.cloud.providers import BadCloud, Settings
from pynetes.component import config as flags
from pynetes.component import logs, serving, tasks
from pynetes.component.clock import SystemClock
from pynetes.component.config import option
from pynetes.component.health import Checks
from pynetes.csi.controller import app as control

COMPONENT = "cloud-csi-controller"
DESCRIPTION = (
    "Makes, attaches, grows, copies and removes a cloud's disks for whoever speaks CSI: with --cloud-provider=aws it "
    "is the controller service of the driver ebs.csi.aws.com."
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it."""

    cloud_provider: str = option("--cloud-provider", "", f"The cloud: one of {', '.join(csi.DRIVERS)}.")
    cloud_config: str = option("--cloud-config", "", "Path of the provider's configuration.")
    cluster_name: str = option("--cluster-name", "kubernetes", "What the cluster's disks are tagged with.")
    endpoint: str = option("--endpoint", "unix:///run/csi/csi.sock", "The socket to serve on.")
    control: bool = option(
        "--control", False, "Be the control side too: serve claims, attachments and snapshots of the cluster."
    )
    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig, for --control; without it the pod's identity.")
    health_port: int = option("--health-port", 0, "With --control: the port of /healthz and /metrics; 0 serves none.")
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = flags.parse(Config, argv, prog=f"pynetes {COMPONENT}", description=DESCRIPTION)
    logs.setup(COMPONENT, verbosity=given.verbosity)
    if given.cloud_provider not in csi.DRIVERS:
        remedy = f"--cloud-provider is one of {', '.join(csi.DRIVERS)}"
        raise BadCloud(f"no cloud named {given.cloud_provider!r} has disks", remedy)
    try:
        text = Path(given.cloud_config).read_text() if given.cloud_config else ""
    except OSError as error:
        raise BadCloud(f"--cloud-config: cannot read {given.cloud_config}: {error.strerror}") from None
    try:
        client = Client.from_kubeconfig(given.kubeconfig, component=COMPONENT) if given.control else None
    except KubeconfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return tasks.run(lambda: run(given, text, client))


async def run(given: Config, cloud_config: str, client: Client | None) -> None:
    """Serve the cloud's disks, and control them where that was asked for."""
    settings = Settings(config=cloud_config, cluster=given.cluster_name, clock=SystemClock())
    provider, checks = await providers.connect(given.cloud_provider, settings), Checks()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(provider.close)
        assert provider.volumes is not None
        await stack.enter_async_context(serving.serve_paths(given.paths_socket, COMPONENT))
        socket = Path(given.endpoint.removeprefix("unix://"))
        await stack.enter_async_context(csi.serving(provider.volumes, csi.DRIVERS[given.cloud_provider], socket))
        if client is None:
            await tasks.forever()
            return
        stack.push_async_callback(client.close)
        if given.health_port:
            await stack.enter_async_context(serving.serve(serving.application(checks), port=given.health_port))
        plugin = await stack.enter_async_context(control.connected(socket, local=False, node=""))
        await control.run(plugin, client, elect=True, checks=checks)
