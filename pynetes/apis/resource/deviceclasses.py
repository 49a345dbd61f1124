"""DeviceClass: a named set of devices to request from."""

from pynetes.apis.resource import _validation
from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="resource.k8s.io",
    versions=("v1",),
    kind="DeviceClass",
    plural="deviceclasses",
    namespaced=False,
    validate=_validation.device_class,
    columns=(Column.AGE,),
)
