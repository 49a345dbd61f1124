"""`pynetes down`: stop the cluster. Its state stays, so that `pynetes up` continues it."""

from collections.abc import Sequence

from pynetes.cluster import lock, teardown
from pynetes.cmd import common


def main(argv: Sequence[str]) -> int:
    """Stop it and say what was stopped."""
    given = common.parser("down", __doc__).parse_args(argv)

    async def work() -> int:
        cluster = common.cluster_of(given)
        with lock.held(f"pynetes down{cluster.flags}"):
            done = await teardown.down(cluster)
        print(f"Stopped {', '.join(done) or 'nothing, it did not run'}. State stays in {cluster.state}.")
        return 0

    return common.run(work)
