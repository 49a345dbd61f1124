"""`pynetes dra-driver`: publishes device files of this node for claims (dynamic resource allocation)."""

from collections.abc import Sequence

from pynetes.component import config, logs, tasks
from pynetes.devices import driver

DESCRIPTION = "A driver for dynamic resource allocation: device files as devices that ResourceClaims can select."


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(driver.Config, argv, prog="pynetes dra-driver", description=DESCRIPTION)
    logs.setup("dra-driver", verbosity=given.v)
    return tasks.run(lambda: driver.run(given))
