"""Errors for people: what went wrong in one line, and what to do about it in another."""

import sys


class RemedyError(Exception):
    """The base of what a command prints as `error: MESSAGE` and `remedy: REMEDY`, without a traceback."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


def told(error: RemedyError) -> int:
    """Write an error and its remedy to stderr; the exit status."""
    sys.stderr.write(f"error: {error}\n" + f"remedy: {error.remedy}\n" * bool(error.remedy))
    return 1
