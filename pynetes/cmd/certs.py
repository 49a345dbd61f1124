"""`pynetes certs`: what identities the cluster holds, until when, and new ones before they end.

`list` shows every certificate and kubeconfig. `renew` issues them anew (all, or those named), signed by the authorities
that are there. `rotate-ca` replaces an authority (cluster, front-proxy, etcd; all of them if none is named) in three
steps: trust (old and new are trusted), sign (everything is issued anew), finish (the old one is trusted no longer).
Running processes take new files up by themselves; nothing fails meanwhile. Copies of admin.conf elsewhere need to be
made anew after `sign`, and pods whose programs read ca.crt only once have to be started again before `finish`: take
the steps one by one with --step where there are any.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from pynetes.cluster import rotation
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.cmd import common
from pynetes.pki import inventory, renew, rotate
from pynetes.pki.inventory import Item
from pynetes.pki.layout import Layout


def main(argv: Sequence[str]) -> int:
    """Exit status 1 when something has expired (list) or could not be renewed."""
    parser = common.parser("certs", __doc__ or "")
    parser.add_argument(
        "action",
        nargs="?",
        default="list",
        choices=("list", "renew", "rotate-ca"),
        help="show them (default), issue them anew, or replace an authority",
    )
    parser.add_argument("names", nargs="*", help="which ones, as `list` names them; for rotate-ca: " + _AUTHORITIES)
    parser.add_argument("--step", choices=rotate.STEPS, default="", help="rotate-ca: only this step (default: all)")
    parser.add_argument(
        "--settle", type=float, default=10.0, metavar="SECONDS", help="rotate-ca: wait after each step (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    given = parser.parse_args(argv)

    async def work() -> int:
        cluster = common.cluster_of(given)
        layout = Layout(cluster.state)
        if given.action == "list":
            return _list(layout, json=given.json)
        if given.action == "rotate-ca":
            return await _rotate(cluster, given.names, given.step, given.settle)
        return await asyncio.to_thread(_renew, layout, frozenset(given.names))

    return common.run(work)


_AUTHORITIES = ", ".join(rotation.NAMED)


async def _rotate(cluster: Cluster, names: Sequence[str], step: str, settle: float) -> int:
    if unknown := [name for name in names if name not in rotation.NAMED]:
        raise ClusterError(f"there is no authority {unknown[0]!r}", f"name {_AUTHORITIES}")
    layout = Layout(cluster.state)
    for name in names or rotation.NAMED:
        # One that was interrupted goes on where it was.
        first = rotate.STEPS.index(rotate.following(layout, rotation.NAMED[name]))
        async for done in rotation.run(cluster, name, [step] if step else rotate.STEPS[first:], settle=settle):
            print(done, flush=True)
    return 0


def _list(layout: Layout, *, json: bool) -> int:
    now = datetime.now(UTC)
    items = list(inventory.of(layout))
    if not items:
        raise ClusterError(f"there are no certificates in {layout.pki}", "make the cluster with `pynetes up`")
    if json:
        print(orjson.dumps([item.described(now) for item in items]).decode())
    else:
        print(_table(items, now))
    return 1 if any(item.expires <= now for item in items) else 0


def _table(items: Sequence[Item], now: datetime) -> str:
    rows = [
        (item.name, item.subject, item.issuer, f"{item.expires:%Y-%m-%d %H:%M} UTC", item.residual(now))
        for item in items
    ]
    return common.columns([("NAME", "SUBJECT", "ISSUER", "EXPIRES", "RESIDUAL"), *rows])


def _renew(layout: Layout, names: frozenset[str]) -> int:
    known = {item.name for item in inventory.of(layout) if not item.authority and not item.requested}
    if unknown := names - known:
        raise ClusterError(
            f"there is no certificate {sorted(unknown)[0]!r}",
            "see `pynetes certs list`; authorities are replaced by rotate-ca, and kubelets renew their own",
        )
    try:
        for name in renew.again(layout, only=names):
            print(f"renewed {name}")
    except renew.PKIError as error:
        raise ClusterError(str(error), "nothing else was changed") from error
    print("Running processes take them up by themselves. Kubelets renew their own.")
    return 0
