"""Flags from dataclasses: types, Go's durations, and mistakes."""

from dataclasses import dataclass

import pytest

from pynetes.component.config import Idle, option, parse


@dataclass(frozen=True, kw_only=True)
class Config:
    """Some of each."""

    interval: float = option("--interval", 300.0, "How often.")
    names: tuple[str, ...] = option("--names", (), "Whom.")
    on: bool = option("--on", False, "Whether.")
    verbosity: int = option("-v", 0, "How much.")


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m0s", 300.0), ("1h1m1.5s", 3661.5), ("250ms", 0.25), ("0", 0), ("7.5", 7.5)]
)
def test_durations_as_upstream_writes_them(text: str, seconds: float) -> None:
    """Or plain seconds."""
    assert parse(Config, ["--interval", text], prog="x").interval == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5 m", "m", "1x", ""])
def test_what_is_no_duration(text: str) -> None:
    """Is refused."""
    with pytest.raises(SystemExit):
        parse(Config, ["--interval", text], prog="x")


def test_lists_and_booleans() -> None:
    """Repeated or by commas; a bare flag is true."""
    assert parse(Config, ["--names=a,b", "--names", "c", "--on"], prog="x") == Config(names=("a", "b", "c"), on=True)
    assert parse(Config, ["--on=false"], prog="x") == Config()


@pytest.mark.parametrize("argv", [["-v", "4"], ["-v=4"], ["--v=4"], ["--v", "4"]])
def test_verbosity_in_both_spellings(argv: list[str]) -> None:
    """Of klog's flags: -v and --v."""
    assert parse(Config, argv, prog="x").verbosity == 4


IDLE = {
    "cache": Idle("it is always on", ("true",)),
    "prefix": Idle("keys begin with /a", ("", "/a"), strict=True),
}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--cache=true", "--on", "--prefix", "/a"], ""),
        (["--cache", "--on"], ""),
        (["--on", "--cache", "false"], "warning: --cache has no effect: it is always on\n"),
    ],
)
def test_flags_that_set_nothing(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Taken silently where they ask for what is the case, and else with a warning."""
    assert parse(Config, argv, prog="x", idle=IDLE) == Config(on=True)
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("argv", "error", "remedy"),
    [
        (["--prefix=/b"], "--prefix=/b cannot be had: keys begin with /a", "leave it out or say --prefix=/a"),
        (["--nmes", "a"], "unknown flag: --nmes", "did you mean --names?"),
        (["--cahce=false"], "unknown flag: --cahce", "did you mean --cache?"),
        (["--xyzzy"], "unknown flag: --xyzzy", "see `x --help`"),
        (["names"], "unexpected argument 'names'", "values follow their flag, as in --name=value"),
        (["--on=perhaps"], "argument --on: invalid boolean value 'perhaps', expected true or false", "see `x --help`"),
    ],
)
def test_mistakes(argv: list[str], error: str, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is told in a line, with its remedy."""
    with pytest.raises(SystemExit) as ended:
        parse(Config, argv, prog="x", idle=IDLE)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {error}\nremedy: {remedy}\n"
