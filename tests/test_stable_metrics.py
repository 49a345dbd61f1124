"""docs/metrics.md has an answer for every metric that upstream promises to keep."""

import pytest

from tests.apiserver.metric_names import PAGE, absent, promised
from tests.stable_metrics import STABLE


@pytest.mark.parametrize("name", STABLE)
def test_it_is_served_or_said_why_not(name: str) -> None:
    """On the list of its component, or among those that are not served, with a reason."""
    page = STABLE[name].page
    served = name in promised(page) if page else f"`{name}`" in PAGE.read_text()
    assert served or name in absent()
