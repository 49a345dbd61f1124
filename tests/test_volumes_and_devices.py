"""The page of what holds for volumes and devices names only tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "volumes-and-devices.md").read_text()


def test_every_promise_has_a_test() -> None:
    """Each line names tests, and all of them exist."""
    named = re.findall(r"(tests/[a-z_/0-9]+\.py)::(test_\w+)", TEXT)
    assert len(named) > 90
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text()]
    assert not missing
    rows = re.findall(r"^\| (?!What|---)(.*) \| (.*) \|$", TEXT, re.MULTILINE)
    assert [what for what, tests in rows if "::" not in tests] == []
