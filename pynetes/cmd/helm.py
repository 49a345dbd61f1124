"""`pynetes helm …`: the official Helm with the cluster's kubeconfig."""

from collections.abc import Sequence

from pynetes.cmd import tools


def main(argv: Sequence[str]) -> int:
    """Become Helm."""
    return tools.become("helm", argv)
