"""ServiceAccount: the identity of processes in pods."""

from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    subresources=("token",),
    generation=False,
    columns=(Column.AGE,),
)
