"""`pynetes instance stop|start|terminate NODE`: what the local cloud does to the node that an instance is."""

import re
from collections.abc import Sequence

from pynetes.cluster import teardown
from pynetes.cluster.errors import ClusterError
from pynetes.cmd import common

ACTIONS = {"stop": teardown.stop_node, "start": teardown.start_node, "terminate": teardown.remove_node}


def main(argv: Sequence[str]) -> int:
    """Parse the flags and do it."""
    parser = common.parser("instance", __doc__)
    parser.add_argument("action", choices=tuple(ACTIONS))
    parser.add_argument("node", help="a node in a network namespace")
    given = parser.parse_args(argv)

    async def work() -> int:
        cluster = common.cluster_of(given)
        if not re.fullmatch(rf"{re.escape(cluster.name)}-node-\d+", given.node):
            raise ClusterError(f"{given.node!r} is no node in a network namespace", "the machine itself stays")
        await ACTIONS[given.action](cluster, given.node)
        return 0

    return common.run(work)
