"""`pynetes metrics-server`: what nodes and pods use, for `kubectl top` and autoscaling."""

from collections.abc import Sequence

from pynetes.component import config, logs, tasks
from pynetes.metrics_server import app


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(app.Config, argv, prog="pynetes metrics-server", description=__doc__ or "")
    logs.setup("metrics-server", verbosity=given.verbosity)
    return tasks.run(lambda: app.run(given))
