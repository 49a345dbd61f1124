"""Event in the shape of events.k8s.io, stored as core's."""

from pynetes.apis.core import _event_validation, _events
from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="events.k8s.io",
    versions=("v1",),
    kind="Event",
    plural="events",
    short_names=("ev",),
    storage_group="",
    generation=False,
    validate=_event_validation.validate_new,
    fields=_events.FIELDS,
    convert=_events.convert,
    columns=_events.COLUMNS,
)
