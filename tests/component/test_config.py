"""Flags from dataclasses: types, Go's durations, and mistakes."""

from dataclasses import dataclass

import pytest

from pynetes.component.config import option, parse


@dataclass(frozen=True, kw_only=True)
class Config:
    """Some of each."""

    interval: float = option("--interval", 300.0, "How often.")
    names: tuple[str, ...] = option("--names", (), "Whom.")
    on: bool = option("--on", False, "Whether.")


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m0s", 300.0), ("1h1m1.5s", 3661.5), ("250ms", 0.25), ("0", 0), ("7.5", 7.5)]
)
def test_durations_as_upstream_writes_them(text: str, seconds: float) -> None:
    """Or plain seconds."""
    assert parse(Config, ["--interval", text], prog="x").interval == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5 m", "m", "1x", ""])
def test_what_is_no_duration(text: str) -> None:
    """Is refused with argparse's message."""
    with pytest.raises(SystemExit):
        parse(Config, ["--interval", text], prog="x")


def test_lists_and_booleans() -> None:
    """Repeated or by commas; a bare flag is true."""
    assert parse(Config, ["--names=a,b", "--names", "c", "--on"], prog="x") == Config(names=("a", "b", "c"), on=True)
    assert parse(Config, ["--on=false"], prog="x") == Config()
