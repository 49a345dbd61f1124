"""`pynetes status`: the cluster's processes, and whether each is ready."""

from collections.abc import Sequence

import orjson

from pynetes.cluster import process, supervisor
from pynetes.cluster.errors import ClusterError
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
        except PermissionError:
            raise ClusterError(f"{cluster.control_socket}: permission denied", "run it as root") from None
        except OSError:
            left = process.leftovers(cluster.run)
            if left:
                raise ClusterError(
                    f"{len(left)} processes of {cluster.name} run, but nothing supervises them",
                    f"`pynetes up{cluster.flags}` takes them over",
                ) from None
            print(f"The cluster {cluster.name} is stopped. Start it with `pynetes up{cluster.flags}`.")
            return 3
        if given.json:
            print(orjson.dumps(status).decode())
        else:
            _show(status)
        return 0 if all(item["ready"] for item in status["processes"]) else 1

    return common.run(work)


def _show(status: Object) -> None:
    rows = [("NAME", "PID", "READY", "RESTARTS", "AGE", "WHY NOT")]
    for item in status["processes"]:
        ready, age = "yes" if item["ready"] else "no", f"{item['seconds']:.0f}s"
        rows.append((item["name"], str(item["pid"]), ready, str(item["restarts"]), age, item["why"]))
    print(common.columns(rows))
