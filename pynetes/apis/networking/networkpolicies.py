"""NetworkPolicy."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
)
