"""Event: something that happened to an object."""

from pynetes.apis.core import _event_validation, _events
from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Event",
    plural="events",
    short_names=("ev",),
    generation=False,
    fields=_events.FIELDS,
    columns=_events.COLUMNS,
    validate=_event_validation.validate_core,
)
