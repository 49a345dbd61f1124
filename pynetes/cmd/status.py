"""`pynetes status`: the cluster's processes, whether each is ready, and what the certificates have left."""

from collections.abc import Sequence

import orjson
from rich.console import Console
from rich.table import Table

from pynetes.cluster import supervisor
from pynetes.cmd import common
from pynetes.machinery.meta import Object


def main(argv: Sequence[str]) -> int:
    """Exit status 0 when everything is ready, 1 when something is not, 3 when the cluster does not run."""
    parser = common.parser("status", __doc__)
    parser.add_argument("--json", action="store_true", help="for machines")
    given = parser.parse_args(argv)

    async def work() -> int:
        cluster = common.cluster_of(given)
        try:
            status = await supervisor.request(cluster.control_socket, do="status")
        except OSError:
            print(f"The cluster {cluster.name} is stopped. Start it with `pynetes up`.")
            return 3
        if given.json:
            print(orjson.dumps(status).decode())
        else:
            _show(status)
        return 0 if all(item["ready"] for item in status["processes"]) else 1

    return common.run(work)


def _show(status: Object) -> None:
    table = Table(box=None, pad_edge=False, header_style="")
    for title in ("NAME", "PID", "READY", "RESTARTS", "AGE", "WHY NOT"):
        table.add_column(title)
    for item in status["processes"]:
        ready = "yes" if item["ready"] else "no"
        why = "" if item["ready"] and not item["why"] else item["why"]
        table.add_row(item["name"], str(item["pid"]), ready, str(item["restarts"]), f"{item['seconds']:.0f}s", why)
    Console(highlight=False, soft_wrap=True).print(table)
