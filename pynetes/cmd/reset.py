"""`pynetes reset`: stop the cluster and remove all of it, its data included."""

import sys
from collections.abc import Sequence

from pynetes.cluster import config, teardown
from pynetes.cluster.config import Cluster
from pynetes.cmd import common


def main(argv: Sequence[str]) -> int:
    """Remove everything, after asking."""
    parser = common.parser("reset", __doc__)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args(argv)

    async def work() -> int:
        cluster = config.load(given.cluster, given.data_dir) or Cluster(name=given.cluster, data_dir=given.data_dir)
        if not given.yes and not _agreed(cluster):
            return 1
        done = await teardown.reset(cluster)
        print(f"Removed {', '.join(done)}." if done else "There was nothing to remove.")
        return 0

    return common.run(work)


def _agreed(cluster: Cluster) -> bool:
    if not sys.stdin.isatty():
        print(f"error: this removes the cluster {cluster.name} and all its data", file=sys.stderr)
        print("remedy: say so with --yes", file=sys.stderr)
        return False
    return input(f"Remove the cluster {cluster.name} and all its data? [y/N] ").strip().lower() in ("y", "yes")
