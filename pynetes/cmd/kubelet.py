"""`pynetes kubelet`: runs the pods of one node."""

from collections.abc import Sequence

from pynetes.component import config as flags
from pynetes.component import logs, tasks
from pynetes.kubelet.config import Config, merged
from pynetes.kubelet.kubelet import Kubelet

DESCRIPTION = "The kubelet runs the pods that are bound to its node, on a container runtime that speaks CRI."


def main(argv: Sequence[str]) -> int:
    """Parse flags and run until a signal."""
    config = merged(flags.parse(Config, argv, prog="pynetes kubelet", description=DESCRIPTION))
    logs.setup("kubelet", verbosity=config.v)
    return tasks.run(lambda: Kubelet(config).run())
