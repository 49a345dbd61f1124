"""DaemonSet."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="apps",
    versions=("v1",),
    kind="DaemonSet",
    plural="daemonsets",
    short_names=("ds",),
    categories=("all",),
    subresources=("status",),
)
