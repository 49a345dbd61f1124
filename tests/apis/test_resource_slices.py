"""ResourceSlices: what upstream drops of them."""

from pynetes.apis.resource import resourceslices


def test_lists_of_values_are_dropped() -> None:
    """They are an alpha feature; a slice that has them keeps them."""

    def slice_(**value: object) -> dict[str, object]:
        return {"metadata": {"name": "s"}, "spec": {"devices": [{"name": "d", "attributes": {"a": value}}]}}

    new = slice_(ints=[1], string="x")
    resourceslices.prepare(new, None)
    assert new == slice_(string="x")
    new = slice_(strings=["x"])
    resourceslices.prepare(new, slice_(ints=[1]))
    assert new == slice_(strings=["x"])
