"""`pynetes dashboard`: the cluster in a browser, with the viewer's rights and none of its own.

Outside a cluster: pynetes dashboard --kubeconfig ~/.kube/config, then open https://localhost:8443/ and paste a token or
a kubeconfig.
"""

from collections.abc import Sequence

from pynetes.component import config, logs, tasks
from pynetes.dashboard import app


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(app.Config, argv, prog="pynetes dashboard", description=__doc__ or "")
    logs.setup("dashboard", verbosity=given.verbosity)
    return tasks.run(lambda: app.run(given))
