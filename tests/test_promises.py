"""The pages of what holds name only tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("volumes-and-devices.md", 90),
        ("observability-tests.md", 45),
        ("gateway-conformance.md", 60),
        ("ingress-tests.md", 60),
    ],
)
def test_every_promise_has_a_test(page: str, least: int) -> None:
    """Each line names tests, and all of them exist."""
    text = (ROOT / "docs" / page).read_text()
    named = re.findall(r"(tests/[a-z_/0-9]+\.py)::(test_\w+)", text)
    assert len(named) > least
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text()]
    assert not missing
    rows = re.findall(r"^\| (?!What|---)(.*) \| (.*) \|$", text, re.MULTILINE)
    assert [what for what, tests in rows if "::" not in tests] == []
