"""What others have named, or said, moves no cursor of the terminal that shows it."""

from pynetes.cmd import common, paths
from pynetes.component import logs
from pynetes.component.tracing import Interaction

HOSTILE = "a\x1b[2Jb\x1b]0;owned\x07\r\u202ec\n"
HARMLESS = r"a\x1b[2Jb\x1b]0;owned\x07\r\u202ec\n"


def test_lines_and_tables() -> None:
    """Of interactions and of every table."""
    item = Interaction(1, 0.0, HOSTILE, "b", f"GET {HOSTILE}", HOSTILE, 0.0, HOSTILE)
    line = paths._line(item, as_json=False)
    assert line.isprintable() and line.count(HARMLESS) == 4
    assert common.columns([("A", "B"), (HOSTILE, "é")]).splitlines()[1].split() == [HARMLESS, "é"]


def test_log_lines() -> None:
    """A fact is one line, whatever its values are; what can be shown is as it was."""
    told = logs.fact("seen", one=HOSTILE, two="über", error=ValueError(HOSTILE))
    assert told.isprintable() and HARMLESS in told and "two=über" in told
