"""Taints of devices: since when."""

from pynetes.apis.resource import resourceslices
from pynetes.machinery.meta import Object


def slice_(*taints: Object) -> Object:
    """A slice with one device."""
    return {"spec": {"devices": [{"name": "g0", "taints": list(taints)}]}}


def test_the_moment_of_a_taint_is_noted_once() -> None:
    """A taint without a moment gets the present one and keeps it; what the driver says stays."""
    stamp = resourceslices.RESOURCE.stamp
    assert stamp is not None
    first, again = slice_({"key": "k", "effect": "NoExecute"}), slice_({"key": "k", "effect": "NoExecute"})
    stamp(first, None, "2026-01-01T00:00:00Z")
    stamp(again, first, "2026-01-01T00:01:00Z")
    assert again == first
    assert first["spec"]["devices"][0]["taints"][0]["timeAdded"] == "2026-01-01T00:00:00Z"
    more = slice_({"key": "k", "effect": "None"}, {"key": "l", "effect": "None", "timeAdded": "2025-01-01T00:00:00Z"})
    stamp(more, first, "2026-01-01T00:02:00Z")
    assert [one["timeAdded"][:16] for one in more["spec"]["devices"][0]["taints"]] == [
        "2026-01-01T00:02",
        "2025-01-01T00:00",
    ]
