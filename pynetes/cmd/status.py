"""`pynetes status`: the cluster's processes, whether each is ready, and which certificates soon end."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import orjson

from pynetes.cluster import process, supervisor
from pynetes.cluster.errors import ClusterError
from pynetes.cmd import common
from pynetes.machinery.meta import Object
from pynetes.pki import inventory, renew
from pynetes.pki.layout import Layout

#: How long before its end an authority is warned of.
AUTHORITY_WARNING = timedelta(days=365)


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
        ending = expiring(Layout(cluster.state), datetime.now(UTC))
        if given.json:
            print(orjson.dumps({**status, "expiring": ending}).decode())
        else:
            _show(status)
            for warning in ending:
                print(f"warning: {warning}; see `pynetes certs{cluster.flags}`", file=sys.stderr)
        return 0 if all(item["ready"] for item in status["processes"]) else 1

    return common.run(work)


def expiring(layout: Layout, now: datetime) -> list[str]:
    """What has ended or soon will, in words; authorities are told a year ahead, since replacing them takes planning."""
    told = []
    for item in inventory.of(layout):
        before = AUTHORITY_WARNING if item.authority else renew.RENEW_BEFORE
        if item.expires - now < before:
            told.append(f"{item.name} expires {item.expires:%Y-%m-%d} ({item.residual(now)})")
    return told


def _show(status: Object) -> None:
    rows = [("NAME", "PID", "READY", "RESTARTS", "AGE", "WHY NOT")]
    for item in status["processes"]:
        ready, age = "yes" if item["ready"] else "no", f"{item['seconds']:.0f}s"
        rows.append((item["name"], str(item["pid"]), ready, str(item["restarts"]), age, item["why"]))
    print(common.columns(rows))
