"""`pynetes device-plugin`: hands out device files of this node to containers."""

from collections.abc import Sequence

from pynetes.component import config, logs, tasks
from pynetes.devices import plugin
from pynetes.devices.config import Config

DESCRIPTION = "A device plugin for the kubelet: lists device files, and gives them to the containers that ask for them."


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(Config, argv, prog="pynetes device-plugin", description=DESCRIPTION)
    logs.setup("device-plugin", verbosity=given.v)
    return tasks.run(lambda: plugin.run(given))
