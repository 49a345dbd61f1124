"""DeviceClass: a named set of devices to request from."""

from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="resource.k8s.io",
    versions=("v1",),
    kind="DeviceClass",
    plural="deviceclasses",
    namespaced=False,
    columns=(Column.AGE,),
)
