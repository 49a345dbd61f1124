"""Configuration is dataclasses; flags are made from them, once, here.

A field declared with `option` becomes a flag of upstream's name; its help is the field's documentation. Components take
the dataclass and never see argv or the environment.

    @dataclass(frozen=True, kw_only=True)
    class Config:
        secure_port: int = option("--secure-port", 6443, "The TCP port that serves HTTPS.")
        etcd_servers: tuple[str, ...] = option("--etcd-servers", (), "URLs of the etcd members, comma-separated.")
"""

import argparse
import dataclasses
import difflib
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from pynetes.component.remedy import RemedyError, told

T = TypeVar("T")


class Idle(NamedTuple):
    """A flag of upstream's that is taken, so that its command lines work, and sets nothing here."""

    #: What is the case whatever it says.
    instead: str
    #: Values that say just that; any other is told of.
    same: tuple[str, ...] = ()
    #: Whether any other would be a promise that is not kept: it is refused.
    strict: bool = False


def option(flag: str, default: Any, doc: str) -> Any:
    """A dataclass field that is a flag. Types: str, int, bool, float (durations too), tuple[str, ...] by commas."""
    return dataclasses.field(default=default, metadata={"flag": flag, "doc": doc})


def parse(
    config: type[T], argv: Sequence[str], *, prog: str, description: str = "", idle: Mapping[str, Idle] | None = None
) -> T:
    """Build the configuration from flags; exits with a line that says what is wrong with them, and a remedy.

    idle: by name, without dashes, flags that are accepted beside the configuration's own."""
    parser = Parser(prog=prog, description=description, allow_abbrev=False)
    hints = typing.get_type_hints(config)
    options = [item for item in dataclasses.fields(config) if "flag" in item.metadata]  # type: ignore[arg-type]
    for item in options:
        _add(parser, item, hints[item.name])
    found, rest = parser.parse_known_args(argv)
    for name, value in _pairs(rest):
        if name.startswith("--") and (flag := (idle or {}).get(name[2:])) is not None:
            _excuse(parser, name, value, flag)
        else:
            _unknown(
                parser, name, [*(item.metadata["flag"] for item in options), *(f"--{each}" for each in idle or ())]
            )
    given = {name: value for name, value in vars(found).items() if value is not None}
    return config(**given)


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Flags and their values: --name=value, or --name value."""
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not equals and name.startswith("-") and left and not left[0].startswith("-"):
            value = left.pop(0)
        yield name, value if equals or value else "true"


class Parser(argparse.ArgumentParser):
    """Mistakes on the command line are told as every other error is: what, and the remedy, not the whole usage."""

    def error(self, message: str) -> NoReturn:
        """End the process with exit status 2."""
        self.refuse(message, "")

    def refuse(self, problem: str, remedy: str) -> NoReturn:
        """End the process with exit status 2, and a better remedy than the help."""
        told(RemedyError(problem, remedy or f"see `{self.prog} --help`"))
        raise SystemExit(2)


def _unknown(parser: Parser, name: str, known: Sequence[str]) -> NoReturn:
    if not name.startswith("-"):
        parser.refuse(f"unexpected argument {name!r}", "values follow their flag, as in --name=value")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    parser.refuse(f"unknown flag: {name}", f"did you mean {near[0]}?" if near else "")


def _excuse(parser: Parser, name: str, value: str, flag: Idle) -> None:
    """The flag sets nothing; say so, unless it asks for what is the case anyway."""
    if value in flag.same:
        return
    if flag.strict:
        remedy = " or ".join(["leave it out", *(f"say {name}={each}" for each in flag.same if each)])
        parser.refuse(f"{name}={value} cannot be had: {flag.instead}", remedy)
    sys.stderr.write(f"warning: {name} has no effect: {flag.instead}\n")


def _add(parser: argparse.ArgumentParser, item: "dataclasses.Field[Any]", hint: Any) -> None:
    flag, doc = item.metadata["flag"], item.metadata["doc"]
    # Upstream's -v is --v too.
    flags = (flag,) if flag.startswith("--") else (flag, f"-{flag}")
    shown = f"{doc} Default: {item.default!r}." if item.default not in ("", None, ()) else doc
    text = shown.replace("%", "%%")
    if hint is bool:
        parser.add_argument(*flags, dest=item.name, nargs="?", const=True, type=_boolean, help=text, metavar="BOOL")
    elif typing.get_origin(hint) is tuple:
        parser.add_argument(*flags, dest=item.name, action=_Extend, help=text, metavar="LIST")
    else:
        plain = next((t for t in typing.get_args(hint) if t is not types.NoneType), hint)
        read = seconds if plain is float else plain
        parser.add_argument(*flags, dest=item.name, type=read, help=text, metavar=plain.__name__.upper())


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def seconds(text: str) -> float:
    """A number, or a Go duration such as 1m30s in seconds, as upstream's flags have them."""
    parts = re.findall(r"([0-9.]+)(h|ms|m|s|us|µs|ns)", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return float(text)


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "t", "1", "yes"):
        return True
    if text.lower() in ("false", "f", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"invalid boolean value {text!r}, expected true or false")


class _Extend(argparse.Action):
    """--flag a,b --flag c gathers (a, b, c), as upstream's string slices do."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest) or ()
        setattr(namespace, self.dest, (*before, *(part.strip() for part in values.split(",") if part.strip())))
