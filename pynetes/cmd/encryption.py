"""`pynetes encryption`: other keys for the Secrets in etcd, while the cluster runs.

`rotate-key` makes a new key, writes everything again with it, and forgets the old one. `reencrypt` writes everything
again with what STATE/apiserver/encryption.yaml says now: after you changed it by hand, or after a key management
service has another key. That file is read again by itself when it changes. Keep a copy of it with every backup of
etcd: a backup without it shows no Secrets, to nobody.
"""

from collections.abc import Sequence

from pynetes.cluster import encryption
from pynetes.cmd import common


def main(argv: Sequence[str]) -> int:
    """Exit status 1 when a step could not be taken; what was written before can still be read."""
    parser = common.parser("encryption", __doc__ or "")
    parser.add_argument("action", choices=("rotate-key", "reencrypt"), help="a new key, or the configured ones")
    given = parser.parse_args(argv)

    async def work() -> int:
        cluster = common.cluster_of(given)
        run = encryption.rotate_key if given.action == "rotate-key" else encryption.reencrypt
        async for done in run(cluster):
            print(done, flush=True)
        return 0

    return common.run(work)
