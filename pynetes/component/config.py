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
import re
import types
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def option(flag: str, default: Any, doc: str) -> Any:
    """A dataclass field that is a flag. Types: str, int, bool, float (durations too), tuple[str, ...] by commas."""
    return dataclasses.field(default=default, metadata={"flag": flag, "doc": doc})


def parse(config: type[T], argv: Sequence[str], *, prog: str, description: str = "") -> T:
    """Build the configuration from flags; exits with argparse's usual message when they are wrong."""
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    hints = typing.get_type_hints(config)
    for item in dataclasses.fields(config):  # type: ignore[arg-type]
        if "flag" in item.metadata:
            _add(parser, item, hints[item.name])
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    return config(**given)


def _add(parser: argparse.ArgumentParser, item: "dataclasses.Field[Any]", hint: Any) -> None:
    flag, doc = item.metadata["flag"], item.metadata["doc"]
    shown = f"{doc} Default: {item.default!r}." if item.default not in ("", None, ()) else doc
    text = shown.replace("%", "%%")
    if hint is bool:
        parser.add_argument(flag, dest=item.name, nargs="?", const=True, type=_boolean, help=text, metavar="BOOL")
    elif typing.get_origin(hint) is tuple:
        parser.add_argument(flag, dest=item.name, action=_Extend, help=text, metavar="LIST")
    else:
        plain = next((t for t in typing.get_args(hint) if t is not types.NoneType), hint)
        read = seconds if plain is float else plain
        parser.add_argument(flag, dest=item.name, type=read, help=text, metavar=plain.__name__.upper())


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
