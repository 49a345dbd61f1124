"""The runtime of CEL and its environments: Google's own, a library of 50 MB that comes with the first expression."""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from pynetes.machinery.cel import CompileError, EvalError, OverLimit, libraries, rewriting, signatures
from pynetes.machinery.cel.libraries import Check
from pynetes.machinery.cel.limits import EXCEEDED, Limit
from pynetes.machinery.cel.syntax import Tree, read

_CODE = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")
_UNDECLARED = re.compile(r"(<input>:\d+:)(\d+): undeclared reference to '([\w.]+)'([^\n]*\n \| [^\n]*\n \| )\.*\^")
_NEXT, _PLACE = re.compile(r"\n(?=ERROR: <input>:\d)"), re.compile(r"ERROR: <input>:(\d+):(\d+)")
_KEY = re.compile(r'Key not found in map : "?(.*?)"?$', re.DOTALL)
_INDEX = re.compile(r"Index error: index=(-?\d+) size=\d+")

#: Answers the authorizer's questions while a program runs that may ask them.
_CHECK: ContextVar[Check | None] = ContextVar("check", default=None)


class Program:
    """A compiled expression."""

    def __init__(self, source: str, expression: cel.Expression) -> None:
        self.source = source
        self._expression = expression
        self._limit: Limit | None = None

    @property
    def kind(self) -> str:
        """The name of the result's type: BOOL, STRING, DYN, …"""
        return str(self._expression.return_type().name())

    def tree(self) -> Tree:
        """The expression as the checker understood it."""
        return read(bytes(self._expression.serialize()))

    def limited(self, data: Mapping[str, Any], check: Check | None = None) -> Any:
        """The value as eval gives it. Raises EvalError; OverLimit for what could take too long."""
        self._limit = self._limit or Limit(self.tree())
        if self._limit.exceeded(data):
            raise OverLimit(EXCEEDED)
        return self.eval(data, check)

    def eval(self, data: Mapping[str, Any], check: Check | None = None) -> Any:
        """The value as plain JSON. Raises EvalError."""
        token = _CHECK.set(check)
        try:
            result = self._expression.eval(data=dict(data))
            kind = result.type().name()
            value = result.plain_value()
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise EvalError(_worded(str(error))) from error
        finally:
            _CHECK.reset(token)
        if kind == "ERROR":
            raise EvalError(_worded(str(value)))
        return value


_CONVERSION = re.compile(
    "^(?:String to (Duration|Timestamp) conversion failed|cannot convert string to (int|uint|double)$)"
)


def _worded(text: str) -> str:
    text = _CODE.sub("", text)
    if found := _KEY.search(text):
        return f"no such key: {found[1]}"
    if found := _INDEX.search(text):
        return f"index out of bounds: {found[1]}"
    if "Iteration budget exceeded" in text:
        return EXCEEDED
    if "divide by zero" in text:
        return "division by zero"
    if text.startswith("Type conversion error from"):
        return f"t{text[1:]}"
    if found := _CONVERSION.search(text):
        kind = f"google.protobuf.{found[1]}" if found[1] else found[2]
        return f"type conversion error from 'string' to '{kind}'"
    if "No matching overloads" in text or "non-message type" in text:
        return "no such overload"
    return text


def _extensions() -> list[cel.CelExtensionBase]:
    return [
        ext_strings.ExtStrings(),
        ext_math.ExtMath(),
        ext_optional.ExtOptional(),
        ext_bindings.ExtBindings(),
        ext_encoders.ExtEncoders(),
    ]


def evaluable(source: str, variables: tuple[str, ...]) -> Program:
    """The program with variables of any type. Raises CompileError."""
    done = compiled(_untyped(variables), rewriting.evaluable(source))
    done.source = source
    return done


def untyped(variables: tuple[str, ...], source: str) -> Program:
    """The program as it is written, with variables of any type. Raises CompileError."""
    return compiled(_untyped(variables), source)


@lru_cache(maxsize=64)
def _untyped(variables: tuple[str, ...]) -> cel.Env:
    return environment(dict.fromkeys(variables, cel.Type.DYN))


def environment(variables: Mapping[str, cel.Type]) -> cel.Env:
    """An environment to evaluate in, with Kubernetes' libraries."""
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(signatures.configuration()),
        variables=dict(variables),
        extensions=_extensions(),
        functions=[*signatures.comparisons(), *libraries.functions(_CHECK.get)],
    )


def checking(variables: Mapping[str, cel.Type], pool: Any = None, config: str = "") -> cel.Env:
    """An environment to check in, with the types of upstream's; config declares, as YAML, variables whose types have no
    other form."""
    return cel.NewEnv(
        descriptor_pool=pool,
        config=cel.NewEnvConfigFromYaml(signatures.configuration(checking=True) + config),
        variables=dict(variables),
        extensions=[ext_optional.ExtOptional()],
        functions=[*signatures.comparisons(), *signatures.functions()],
    )


def compiled(env: cel.Env, source: str) -> Program:
    """The program in this environment. Raises CompileError."""
    try:
        return Program(source, env.compile(source))
    except (RuntimeError, TypeError, ValueError) as error:
        raise CompileError(_sorted(_UNDECLARED.sub(_at_its_start, _CODE.sub("", str(error))))) from error


def _sorted(text: str) -> str:
    """Several mistakes in the order of the text, as upstream's compiler tells them."""
    return "\n".join(sorted(_NEXT.split(text), key=place))


def place(mistake: str) -> tuple[int, int]:
    """Line and column of a mistake."""
    found = _PLACE.match(mistake)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _at_its_start(found: re.Match[str]) -> str:
    """An unknown a.b.c: upstream's compiler names a, and points there."""
    first, _, rest = found[3].partition(".")
    column = int(found[2]) - len(found[3].rpartition(".")[0])
    if not rest or column < 1:
        return found[0]
    pointer = "." * (column - 1)
    return f"{found[1]}{column}: undeclared reference to '{first}'{found[4]}{pointer}^"
