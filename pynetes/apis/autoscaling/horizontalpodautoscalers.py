"""HorizontalPodAutoscaler."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="autoscaling",
    versions=("v2", "v1"),
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    short_names=("hpa",),
    categories=("all",),
    storage_version="v2",
    subresources=("status",),
    generation=False,
)
