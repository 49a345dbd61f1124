"""`pynetes reset`: stop the cluster and remove all of it, its data included.

Gone with it is the key of the Secrets in etcd (STATE/apiserver/encryption.yaml): backups of etcd that were made without
a copy of it show no Secrets afterwards.
"""

import sys
from collections.abc import Sequence

from pynetes.cluster import config, lock, teardown
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.cmd import common


def main(argv: Sequence[str]) -> int:
    """Remove everything, after asking."""
    parser = common.parser("reset", __doc__ or "")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args(argv)

    async def work() -> int:
        cluster = _found(given.cluster, given.data_dir)
        if not given.yes and not _agreed(cluster):
            return 1
        with lock.held(f"pynetes reset{cluster.flags}"):
            done = await teardown.reset(cluster)
        print(f"Removed {', '.join(done)}." if done else "There was nothing to remove.")
        return 0

    return common.run(work)


def _found(name: str, data_dir: str) -> Cluster:
    """The cluster, also when its cluster.json is unreadable: removing it is the remedy for that."""
    named = Cluster(name=name, data_dir=data_dir)
    try:
        return config.load(name, data_dir) or named
    except ClusterError as error:
        print(f"warning: {error}", file=sys.stderr)
        return named


def _agreed(cluster: Cluster) -> bool:
    if not sys.stdin.isatty():
        print(f"error: this removes the cluster {cluster.name} and all its data", file=sys.stderr)
        print("remedy: say so with --yes", file=sys.stderr)
        return False
    print(f"The key of the Secrets in its backups goes too: {cluster.state / 'apiserver' / 'encryption.yaml'}")
    return input(f"Remove the cluster {cluster.name} and all its data? [y/N] ").strip().lower() in ("y", "yes")
