"""CEL as Kubernetes speaks it: the one seam to the CEL runtime.

    done = program("self.min <= self.max", ("self",))
    done.eval({"self": {"min": 1, "max": 2}})

Values are plain JSON. Kubernetes' own types (Quantity, IP, CIDR, URL, version) are carried as their texts, because the
runtime knows no types of Python's; the functions of `libraries` read them again. Errors are worded as upstream's
runtime words them, because clients print them.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetes.machinery.cel.runtime import Program


class CompileError(Exception):
    """The expression is not valid; the text is the compiler's."""


class EvalError(Exception):
    """The expression failed for these values."""


class OverLimit(EvalError):
    """The expression was not evaluated: it could cost more than one call may."""


@lru_cache(maxsize=4096)
def _compiled(source: str, variables: tuple[str, ...]) -> "Program":
    from pynetes.machinery.cel import runtime  # a library of 50 MB, which not every process needs

    return runtime.evaluable(source, variables)


def compilations() -> int:
    """How many programs were compiled so far, for whoever wants to know whether the next is new."""
    return _compiled.cache_info().misses


def program(source: str, variables: Sequence[str]) -> "Program":
    """The program, with variables of any type; kept. Raises CompileError."""
    return _compiled(source, tuple(variables))
