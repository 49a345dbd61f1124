"""An APIService's name and bundle: what is told of them, and what is left out."""

from typing import Any

import pytest

from pynetes.apis.apiregistration import apiservices

SPEC: dict[str, Any] = {"group": "g.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}


@pytest.mark.parametrize(("name", "told"), [("v1.g.io", 0), ("v2.g.io", 1), ("", 0), ("a/b", 0)])
def test_the_name_is_compared_once_it_can_be_one(name: str, told: int) -> None:
    """A missing name and one that no path can have are told of elsewhere, alone."""
    found = list(apiservices.validate({"metadata": {"name": name}, "spec": SPEC}, None))
    assert len(found) == told


def test_a_bundle_is_measured_without_padding() -> None:
    """In bytes as they are once decoded."""
    new = {"metadata": {"name": "v1.g.io"}, "spec": {**SPEC, "caBundle": "YQ=="}}
    (found,) = apiservices.validate(new, None)
    assert '"1 bytes"' in str(found)
