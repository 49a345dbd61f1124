"""`pynetes cloud-csi-node`: the CSI node service for a cloud's disks, on each of its instances."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from pynetes.client.imds import ADDRESS, Metadata
from pynetes.cloud import csi
from pynetes.cloud.providers import BadCloud
from pynetes.component import config as flags
from pynetes.component import logs, serving, tasks
from pynetes.component.config import option
from pynetes.csi.disks import driver
from pynetes.csi.disks.node import Instance

COMPONENT = "cloud-csi-node"
DESCRIPTION = (
    "Mounts disks that a cloud has attached to this instance: with --cloud-provider=aws it is the node service of the "
    "driver ebs.csi.aws.com. Which instance this is, the metadata service says."
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it."""

    cloud_provider: str = option("--cloud-provider", "", f"The cloud: one of {', '.join(csi.DRIVERS)}.")
    kubelet_dir: str = option("--kubelet-dir", "/var/lib/kubelet", "The kubelet's folder, at the same path here.")
    metadata: str = option("--metadata", ADDRESS, "Where the instance metadata service is.")
    max_volumes: int = option("--volume-attach-limit", 0, "How many disks the instance may have; 0 is any number.")
    paths_socket: str = option("--paths-socket", "", "Unix socket on which interactions are shown.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = flags.parse(Config, argv, prog=f"pynetes {COMPONENT}", description=DESCRIPTION)
    logs.setup(COMPONENT, verbosity=given.verbosity)
    if given.cloud_provider not in csi.DRIVERS:
        remedy = f"--cloud-provider is one of {', '.join(csi.DRIVERS)}"
        raise BadCloud(f"no cloud named {given.cloud_provider!r} has disks", remedy)
    return tasks.run(lambda: run(given))


async def run(given: Config) -> None:
    """Learn which instance this is, and serve."""
    known = csi.DRIVERS[given.cloud_provider]
    async with Metadata(given.metadata, source=COMPONENT) as metadata:
        me = await metadata.whoami()
    instance = Instance(me.instance, {known.topology: me.zone})
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving.serve_paths(given.paths_socket, COMPONENT))
        kubelet = Path(given.kubelet_dir)
        await stack.enter_async_context(driver.serving(known.name, instance, kubelet=kubelet, most=given.max_volumes))
        await tasks.forever()
