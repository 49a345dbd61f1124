"""`pynetes logs COMPONENT`: the log of a component: apiserver, etcd, kubelet-NODE, …"""

import os
from collections.abc import Sequence

from pynetes.cluster.errors import ClusterError
from pynetes.cmd import common


def main(argv: Sequence[str]) -> int:
    """Print the last lines; with -f follow."""
    parser = common.parser("logs", __doc__)
    parser.add_argument("component", nargs="?", default="", help="a name as `pynetes status` lists it")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    parser.add_argument("--tail", default=200, type=int, metavar="LINES", help="how many lines (default: 200)")
    given = parser.parse_args(argv)

    async def work() -> int:
        cluster = common.cluster_of(given)
        names = sorted(path.stem for path in cluster.logs.glob("*.log"))
        # "kubelet" is enough where there is one.
        found = [name for name in names if name == given.component or name.startswith(f"{given.component}-")]
        if not given.component or not found:
            raise ClusterError(f"there is no log of {given.component or 'nothing'}", f"name one of {', '.join(names)}")
        follow = ["-F"] if given.follow else []
        os.execvp("tail", ["tail", "-n", str(given.tail), *follow, str(cluster.logs / f"{found[0]}.log")])

    return common.run(work)
