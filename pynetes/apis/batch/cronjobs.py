"""CronJob."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="batch",
    versions=("v1",),
    kind="CronJob",
    plural="cronjobs",
    short_names=("cj",),
    categories=("all",),
    subresources=("status",),
)
