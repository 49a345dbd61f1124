"""Running kubectl and Helm: the ones on PATH, or those that a PyPI package carries, unpacked once."""

import os
from collections.abc import Sequence

from pynetes.cluster import config, tools
from pynetes.cluster.errors import ClusterError
from pynetes.cmd import common


def become(tool: str, argv: Sequence[str]) -> int:
    """Replace this process by the tool. --cluster NAME, if it comes first, is ours; the rest is the tool's."""
    name, rest = "pynetes", list(argv)
    if rest[:1] == ["--cluster"] and len(rest) > 1:
        name, rest = rest[1], rest[2:]

    async def work() -> int:
        cluster = config.require(name)
        binary = await tools.find(tool)
        if not os.access(cluster.admin_conf, os.R_OK):
            raise ClusterError(
                f"{cluster.admin_conf} cannot be read", "run it as root, or set KUBECONFIG and use kubectl"
            )
        os.execve(binary, [tool, *rest], {**os.environ, "KUBECONFIG": str(cluster.admin_conf)})

    return common.run(work)
