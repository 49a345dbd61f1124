"""`pynetes proxy`: kube-proxy, and on request network policies in the same process."""

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pynetes.client.rest import Client
from pynetes.component import config, logs, tasks
from pynetes.component.clock import SystemClock
from pynetes.component.command import CommandError
from pynetes.component.config import option
from pynetes.networkpolicy import app as policies
from pynetes.networkpolicy import nftables
from pynetes.proxy import app


@dataclass(frozen=True, kw_only=True)
class Config(app.Config):
    """kube-proxy's flags, and ours."""

    network_policy: bool = option(
        "--network-policy", False, "Also enforce network policies for this node's pods; needs nftables."
    )


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(Config, argv, prog="pynetes proxy", description=__doc__ or "")
    logs.setup("kube-proxy", verbosity=given.verbosity)
    try:
        app.settings(given)
    except app.BadConfig as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return tasks.run(lambda: _run(given))


async def _run(given: Config) -> None:
    if given.cleanup:
        await app.cleanup()
        try:
            await nftables.remove()
        except CommandError as error:
            # Without nftables there is nothing to remove either.
            print(f"network policies: {error}", file=sys.stderr)
        return
    if not given.network_policy:
        await app.run(given)
        return
    client = Client.from_kubeconfig(given.kubeconfig, component="kube-proxy")
    node = given.hostname_override or socket.gethostname().lower()
    try:
        async with tasks.Group() as group:
            group.start(policies.run(client, node, clock=SystemClock()), name="network policies")
            await app.run(given)
    finally:
        await client.close()
