"""`pynetes dns`: the cluster's DNS server."""

from collections.abc import Sequence

from pynetes.component import config, logs, tasks
from pynetes.dns import app


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(app.Config, argv, prog="pynetes dns", description=__doc__ or "")
    logs.setup("dns", verbosity=given.verbosity)
    return tasks.run(lambda: app.run(given))
