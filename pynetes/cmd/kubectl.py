"""`pynetes kubectl …`: the official kubectl with the cluster's kubeconfig."""

from collections.abc import Sequence

from pynetes.cmd import tools


def main(argv: Sequence[str]) -> int:
    """Become kubectl."""
    return tools.become("kubectl", argv)
