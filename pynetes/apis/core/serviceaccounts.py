"""ServiceAccount."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    subresources=("token",),
    generation=False,
)
