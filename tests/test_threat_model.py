"""The threat model names only what is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "threat-model.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    """A boundary that is said to be attacked is."""
    named = re.findall(r"(tests/[a-z_/0-9]+\.py)::(test_\w+)", TEXT)
    assert len(named) > 40
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text()]
    assert not missing


def test_all_paths_are_there() -> None:
    """1 to 29, once each, in order."""
    assert re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE) == [str(number) for number in range(1, 30)]
