"""The kubelet's root under its usual name.

Drivers and plugins are written for /var/lib/kubelet. Where --root-dir is another folder, as for the nodes that share a
machine, the usual name stands for it: in the hostPath volumes of pods, and between the kubelet and a plugin whose
endpoint shows that it sees the node under that name. Pure.
"""

from pathlib import Path

USUAL = Path("/var/lib/kubelet")


def real(path: str | Path, root: Path) -> Path:
    """The path on the machine of what a pod or a plugin calls it."""
    given = Path(path)
    # Lexically clean only: /var/lib/kubelet/../x is not below the root, and symbolic links are the kernel's affair.
    if root != USUAL and ".." not in given.parts and (given == USUAL or USUAL in given.parents):
        return root / given.relative_to(USUAL)
    return given


def seen_by(endpoint: str, path: Path, root: Path) -> str:
    """What a plugin with this endpoint calls a path below the root."""
    if root != USUAL and USUAL in Path(endpoint).parents and root in path.parents:
        return str(USUAL / path.relative_to(root))
    return str(path)
