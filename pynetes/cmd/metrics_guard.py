"""`pynetes metrics-guard`: TLS and authorization in front of metrics that are served on loopback."""

import sys
from collections.abc import Sequence

from pynetes.component import config, logs, tasks
from pynetes.metrics_guard import app


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(app.Config, argv, prog="pynetes metrics-guard", description=__doc__ or "")
    logs.setup("metrics-guard", verbosity=given.verbosity)
    try:
        app.upstreams(given)
    except app.BadConfig as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return tasks.run(lambda: app.run(given))
