"""`pynetes certs`: what identities the cluster holds, until when, and new ones before they end.

`list` shows every certificate and kubeconfig. `renew` issues them anew (all, or those named), signed by the authorities
that are there; processes take new certificates up when they are next started: run `pynetes up` afterwards.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from pynetes.cluster.errors import ClusterError
from pynetes.cmd import common
from pynetes.pki import inventory, renew
from pynetes.pki.inventory import Item
from pynetes.pki.layout import Layout


def main(argv: Sequence[str]) -> int:
    """Exit status 1 when something has expired (list) or could not be renewed."""
    parser = common.parser("certs", __doc__ or "")
    parser.add_argument(
        "action", nargs="?", default="list", choices=("list", "renew"), help="show them (default), or issue them anew"
    )
    parser.add_argument("names", nargs="*", help="which ones to renew, as `list` names them (default: all)")
    parser.add_argument("--json", action="store_true", help="for machines")
    given = parser.parse_args(argv)

    async def work() -> int:
        layout = Layout(common.cluster_of(given).state)
        if given.action == "list":
            return _list(layout, json=given.json)
        return await asyncio.to_thread(_renew, layout, frozenset(given.names))

    return common.run(work)


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
    known = {item.name for item in inventory.of(layout) if not item.authority}
    if unknown := names - known:
        raise ClusterError(
            f"there is no certificate {sorted(unknown)[0]!r}", "see `pynetes certs list`; authorities are not renewed"
        )
    try:
        for name in renew.again(layout, only=names):
            print(f"renewed {name}")
    except renew.PKIError as error:
        raise ClusterError(str(error), "nothing else was changed") from error
    print("Running processes keep their old certificates until they are started again: `pynetes up`.")
    return 0
