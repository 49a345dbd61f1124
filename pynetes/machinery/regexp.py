"""Regular expressions as schemas write them: RE2's syntax, which Go has, and in which no text takes forever.

The engine is the one that CEL brings (its function matches), so that there is no second one to keep.
"""

from typing import Any

#: The engine's words → Go's.
_WORDS = {
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid named capture group": "invalid named capture",
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "trailing \\": "trailing backslash at end of expression",
}
_WRONG = "invalid regular expression: "


def search(pattern: str, text: str) -> bool:
    """Whether the pattern, which must be one, is found in the text."""
    return _asked(pattern, text) is True


def problem(pattern: str) -> str:
    """Why it is no pattern, as Go says it; "" if it is one."""
    from pynetes.machinery import cel  # a library of 50 MB, which only custom resources need

    try:
        _asked(pattern, "")
    except cel.EvalError as error:
        words, _, place = str(error).removeprefix(_WRONG).partition(": ")
        return f"error parsing regexp: {_WORDS.get(words, words)}: `{place}`"
    return ""


def _asked(pattern: str, text: str) -> Any:
    from pynetes.machinery import cel  # as above

    return cel.program("text.matches(pattern)", ("text", "pattern")).limited({"text": text, "pattern": pattern})
