"""`pynetes up`: a cluster on this machine, in one command."""

import dataclasses
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any

from rich.console import Console

from pynetes.cluster import config, lock, up
from pynetes.cluster.addons import catalog
from pynetes.cluster.api import Api
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.cmd import common


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


#: --with a,b and --with a --with b are the same.
ADDON_FLAG: Any = {"type": _names, "action": "extend", "default": [], "metavar": "NAME,…"}


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
    parser.add_argument(
        "--with", dest="more", **ADDON_FLAG, help=f"add-ons to have as well: {_about(catalog.OPTIONAL)}"
    )
    parser.add_argument("--without", dest="less", **ADDON_FLAG, help="add-ons to take away")
    parser.add_argument("--cloud", choices=config.CLOUDS, default=None, help="what plays the cloud (default: none)")
    given = parser.parse_args(argv)
    return common.run(lambda: _up(given))


def _about(names: Sequence[str]) -> str:
    return "; ".join(f"{name} ({catalog.BY_NAME[name].about})" for name in names)


async def _up(given: object) -> int:
    cluster = _wanted(vars(given))
    display = Display()
    began = monotonic()
    try:
        with lock.held(f"pynetes up{cluster.flags}"):
            await up.up(cluster, display)
    finally:
        display.stop()
    _next_steps(cluster, monotonic() - began)
    if "dashboard" in cluster.addons:
        await _dashboard(cluster)
    return 0


async def _dashboard(cluster: Cluster) -> None:
    """Where it is, and what to paste there."""
    async with Api(cluster) as api:
        address = await api.service_address("kube-system", "dashboard")
    print(f"\nThe dashboard, from this machine: https://{address}/ (its certificate is its own; accept it once)\n")
    print("  from another: ssh -L 8443:" + f"{address}:443 THIS-MACHINE, then https://localhost:8443/")
    print(f"  log in with a kubeconfig: pynetes kubeconfig{cluster.flags}")
    print(f"  or with a token:          pynetes kubectl{cluster.flags} -n NAMESPACE create token SERVICEACCOUNT")


def _next_steps(cluster: Cluster, seconds: float) -> None:
    """What a person may want to do now."""
    commands = (
        (f"export KUBECONFIG={cluster.admin_conf}", ""),
        ("kubectl get nodes", f"or: pynetes kubectl{cluster.flags} get nodes"),
        ("kubectl apply -f examples/shop/", "a small shop to look at"),
        (f"pynetes paths{cluster.flags}", "who talks to whom, and how it is secured"),
        (f"pynetes down{cluster.flags}", f"stop it; `pynetes reset{cluster.flags}` removes it"),
    )
    print(f"\nThe cluster {cluster.name} is up after {seconds:.1f} s. What to do next:\n")
    width = max(len(command) for command, why in commands if why)
    for command, why in commands:
        print(f"  {command:<{width}}  # {why}" if why else f"  {command}")


def _wanted(given: dict[str, object]) -> Cluster:
    """What an earlier `up` saved, changed by the flags given now."""
    name, data_dir = str(given.pop("cluster")), str(given.pop("data_dir"))
    before = config.load(name, data_dir) or Cluster(name=name, data_dir=data_dir)
    more, less = given.pop("more"), given.pop("less")
    assert isinstance(more, list)
    assert isinstance(less, list)
    for name in less:
        if name not in catalog.BY_NAME:
            raise ClusterError(f"there is no add-on {name!r}", f"one of {', '.join(catalog.BY_NAME)}")
    changed = {key: value for key, value in given.items() if value is not None}
    changed["addons"] = tuple(name for name in (*before.addons, *more) if name not in less)
    return dataclasses.replace(before, **changed)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
