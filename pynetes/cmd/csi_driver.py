"""`pynetes csi-driver local`: volumes on the machine's own disk, for the pods of one node."""

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from pynetes.client.kubeconfig import KubeconfigError
from pynetes.client.rest import Client
from pynetes.component import config, logs, serving, tasks
from pynetes.component.config import option
from pynetes.component.health import Checks
from pynetes.csi.controller import app as control
from pynetes.csi.local import NAME
from pynetes.csi.local import driver as local

DESCRIPTION = (
    "The CSI driver `local` keeps volumes as images on the machine's disk and mounts them through loop devices. "
    "With --controller it is also its own control side, as `pynetes csi-controller --local` would be."
)
USAGE = "usage: pynetes csi-driver local [flags]; --help lists them"


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it."""

    node_name: str = option("--node-name", "", "The node whose pods are served; its ID in CSI.")
    kubelet_dir: str = option(
        "--kubelet-dir", "/var/lib/kubelet", "The kubelet's --root-dir, where sockets and mounts are."
    )
    volumes: str = option(
        "--volumes", "/var/lib/pynetes/volumes", "The folder of all volumes; drivers of one machine share it."
    )
    endpoint: str = option("--endpoint", "", f"The socket; without it KUBELET-DIR/plugins/{NAME}/csi.sock.")
    register: bool = option("--register", True, "Tell the kubelet of the driver.")
    max_volumes: int = option("--max-volumes", 0, "How many volumes the node may have; 0 is any number.")
    controller: bool = option("--controller", False, "Make, attach, grow and snapshot volumes in this process too.")
    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig; without it the pod's own identity is used.")
    health_port: int = option("--health-port", 9808, "The port of /healthz, /readyz and /metrics; 0 serves none.")
    bind_address: str = option("--bind-address", "0.0.0.0", "Its address.")
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    if argv[:1] not in (["local"], ["--help"], ["-h"]):
        print(f"error: which driver? there is one: local\n{USAGE}", file=sys.stderr)
        return 2
    arguments = argv[1:] if argv[0] == "local" else argv
    given = config.parse(Config, arguments, prog="pynetes csi-driver local", description=DESCRIPTION)
    if not given.node_name:
        print(f"error: --node-name is missing\n{USAGE}", file=sys.stderr)
        return 2
    logs.setup("csi-driver", verbosity=given.verbosity)
    try:
        client = Client.from_kubeconfig(given.kubeconfig, component="csi-controller") if given.controller else None
    except KubeconfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return tasks.run(lambda: run(given, client))


def settings(given: Config) -> local.Config:
    """The driver's own configuration."""
    kubelet = Path(given.kubelet_dir)
    return local.Config(
        socket=Path(given.endpoint.removeprefix("unix://") or kubelet / "plugins" / NAME / "csi.sock"),
        volumes=Path(given.volumes),
        node=given.node_name,
        registry=kubelet / "plugins_registry" if given.register else None,
        most=given.max_volumes,
    )


async def run(given: Config, client: Client | None) -> None:
    """Serve the driver, and control it where that was asked for."""
    settings_, checks = settings(given), Checks()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving.serve_paths(given.paths_socket, "csi-driver"))
        if given.health_port:
            served = serving.serve(serving.application(checks), host=given.bind_address, port=given.health_port)
            await stack.enter_async_context(served)
        await stack.enter_async_context(local.serving(settings_))
        if client is None:
            await tasks.forever()
            return
        stack.push_async_callback(client.close)
        plugin = await stack.enter_async_context(control.connected(settings_.socket, local=True, node=given.node_name))
        await control.run(plugin, client, elect=True, checks=checks)
