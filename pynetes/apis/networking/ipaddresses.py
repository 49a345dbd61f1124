"""IPAddress."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="IPAddress",
    plural="ipaddresses",
    short_names=("ip",),
    namespaced=False,
    generation=False,
)
