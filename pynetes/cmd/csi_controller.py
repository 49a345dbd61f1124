"""`pynetes csi-controller`: the control side of any CSI driver."""

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pynetes.client.kubeconfig import KubeconfigError
from pynetes.client.rest import Client
from pynetes.component import config, logs, serving, tasks
from pynetes.component.config import option
from pynetes.component.health import Checks
from pynetes.csi.controller import app

DESCRIPTION = (
    "Provisions, attaches, resizes, modifies and snapshots the volumes of the CSI driver at a socket: what upstream's "
    "external-provisioner, -attacher, -resizer and -snapshotter do, in one process. Runs beside the driver."
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it; flags are called as the sidecars' are, where those have them."""

    csi_address: str = option("--csi-address", "/run/csi/socket", "The driver's socket.")
    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig; without it the pod's own identity is used.")
    leader_election: bool = option("--leader-election", True, "Work only while holding the driver's Lease.")
    local: bool = option("--local", False, "Look only at what is in the topology of --node-name's driver.")
    node_name: str = option("--node-name", "", "The node it runs on, for --local.")
    http_endpoint: int = option("--health-port", 9809, "The port of /healthz, /readyz and /metrics; 0 serves none.")
    bind_address: str = option("--bind-address", "0.0.0.0", "Its address.")
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(Config, argv, prog="pynetes csi-controller", description=DESCRIPTION)
    logs.setup("csi-controller", verbosity=given.verbosity)
    try:
        client = Client.from_kubeconfig(given.kubeconfig, component="csi-controller")
    except KubeconfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return tasks.run(lambda: run(given, client))


async def run(given: Config, client: Client) -> None:
    """Control the driver at the socket."""
    checks = Checks()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        await stack.enter_async_context(serving.serve_paths(given.paths_socket, "csi-controller"))
        if given.http_endpoint:
            served = serving.serve(serving.application(checks), host=given.bind_address, port=given.http_endpoint)
            await stack.enter_async_context(served)
        connected = app.connected(given.csi_address, local=given.local, node=given.node_name)
        plugin = await stack.enter_async_context(connected)
        await app.run(plugin, client, elect=given.leader_election, checks=checks)
