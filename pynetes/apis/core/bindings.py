"""Binding: puts a pod on a node."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Binding",
    plural="bindings",
    verbs=("create",),
    name_rule="dns-subdomain",
    generation=False,
    stored=False,
)
