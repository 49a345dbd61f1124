"""`pynetes ingress-controller`: an nginx that serves what Ingresses say."""

from collections.abc import Sequence

from pynetes.component import config, logs, tasks
from pynetes.ingress import app


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(app.Config, argv, prog="pynetes ingress-controller", description=__doc__ or "")
    logs.setup("ingress-controller", verbosity=given.verbosity)
    return tasks.run(lambda: app.run(given))
