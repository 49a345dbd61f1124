"""`pynetes kubeconfig`: print the administrator's kubeconfig, ready to be saved or merged."""

from collections.abc import Sequence

from pynetes.cmd import common


def main(argv: Sequence[str]) -> int:
    """Print it, or with --path where it is."""
    parser = common.parser("kubeconfig", __doc__)
    parser.add_argument("--path", action="store_true", help="print where the file is")
    given = parser.parse_args(argv)

    async def work() -> int:
        cluster = common.cluster_of(given)
        print(cluster.admin_conf if given.path else cluster.admin_conf.read_text(), end="\n" if given.path else "")
        return 0

    return common.run(work)
