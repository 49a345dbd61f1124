"""`pynetes up`: a cluster on this machine, in one command."""

import dataclasses
import re
import sys
from collections.abc import Sequence
from time import monotonic

from rich.console import Console

from pynetes.cluster import config, up
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.cmd import common


class Display:
    """One line per phase as it ends; on a terminal what is under way shows below."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._status = self._console.status("")
        self._active: dict[str, None] = {}

    def started(self, title: str) -> None:
        """Show it as under way."""
        self._active[title] = None
        self._show()

    def finished(self, title: str, result: str, seconds: float) -> None:
        """Print its line."""
        self._active.pop(title, None)
        self._console.print(f"[green]✓[/] {title:<24} {result} [dim]{seconds:.1f} s[/]", soft_wrap=True)
        self._show()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        self._status.stop()

    def _show(self) -> None:
        if self._active and self._console.is_terminal:
            self._status.update(", ".join(self._active))
            self._status.start()
        else:
            self._status.stop()


def main(argv: Sequence[str]) -> int:
    """Parse the flags and bring it up."""
    parser = common.parser("up", __doc__)
    parser.add_argument("--nodes", type=int, default=None, help="how many nodes (default: 1); the first is the machine")
    parser.add_argument("--service-cidr", default=None, help="the Services' network (default: 10.96.0.0/16)")
    parser.add_argument("--pod-cidr", default=None, help="the pods' network (default: 10.244.0.0/16)")
    parser.add_argument("--secure-port", type=int, default=None, help="the API server's port (default: 6443)")
    parser.add_argument("--proxy-mode", choices=("nftables", "iptables"), default=None, help="how kube-proxy works")
    given = parser.parse_args(argv)
    return common.run(lambda: _up(given))


async def _up(given: object) -> int:
    cluster = _wanted(vars(given))
    display = Display()
    began = monotonic()
    try:
        await up.up(cluster, display)
    finally:
        display.stop()
    print(NEXT.format(seconds=monotonic() - began, cluster=cluster, flag=_flag(cluster)))
    return 0


def _wanted(given: dict[str, object]) -> Cluster:
    """What an earlier `up` saved, changed by the flags given now."""
    name, data_dir = str(given.pop("cluster")), str(given.pop("data_dir"))
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?", name):
        raise ClusterError(f"{name!r} cannot name a cluster", "use at most 20 lower-case letters, digits and dashes")
    before = config.load(name, data_dir) or Cluster(name=name, data_dir=data_dir)
    changed = {key: value for key, value in given.items() if value is not None}
    nodes = changed.get("nodes", before.nodes)
    if not isinstance(nodes, int) or not 1 <= nodes <= 50:
        raise ClusterError(f"--nodes {nodes}: a machine can play 1 to 50 nodes", "choose a number between them")
    return dataclasses.replace(before, **changed)  # type: ignore[arg-type]


def _flag(cluster: Cluster) -> str:
    return "" if cluster.name == "pynetes" else f" --cluster {cluster.name}"


NEXT = """
The cluster {cluster.name} is up after {seconds:.1f} s. What to do next:

  export KUBECONFIG={cluster.admin_conf}
  kubectl get nodes                      # or: pynetes kubectl{flag} get nodes
  kubectl apply -f examples/shop/        # a small shop to look at
  pynetes paths{flag}                          # who talks to whom, and how it is secured
  pynetes down{flag}                           # stop it; `pynetes reset{flag}` removes it
"""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
