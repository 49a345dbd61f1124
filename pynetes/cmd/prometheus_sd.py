"""`pynetes prometheus-sd`: finds what Prometheus scrapes, for a Prometheus that cannot ask Kubernetes itself."""

from collections.abc import Sequence

from pynetes.component import config, logs, tasks
from pynetes.prometheus_sd import app


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(app.Config, argv, prog="pynetes prometheus-sd", description=__doc__ or "")
    logs.setup("prometheus-sd", verbosity=given.verbosity)
    return tasks.run(lambda: app.run(given))
