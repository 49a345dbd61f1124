"""`pynetes proxy`: kube-proxy."""

import sys
from collections.abc import Sequence

from pynetes.component import config, logs, tasks
from pynetes.proxy import app


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(app.Config, argv, prog="pynetes proxy", description=__doc__ or "")
    logs.setup("kube-proxy", verbosity=given.verbosity)
    try:
        app.settings(given)
    except app.BadConfig as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return tasks.run(lambda: app.run(given))
