"""The string formats that a schema may demand; any other name demands nothing."""

import base64
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from typing import Any

from pynetes.machinery import names
from pynetes.machinery.schema.rules import duration

_UUID = r"[0-9a-f]{8}-?[0-9a-f]{4}-?%s[0-9a-f]{3}-?%s[0-9a-f]{3}-?[0-9a-f]{12}"
_DATE_TIME = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt ]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"
)


def _pattern(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: compiled.fullmatch(text) is not None


def _reads(read: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return check


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": lambda text: _DATE_TIME.fullmatch(text) is not None,
    "date": _reads(date.fromisoformat),
    "duration": _reads(duration),
    "byte": _reads(lambda text: base64.b64decode(text, validate=True)),
    "ipv4": _reads(ipaddress.IPv4Address),
    "ipv6": _reads(ipaddress.IPv6Address),
    "cidr": lambda text: "/" in text and _reads(ipaddress.ip_interface)(text),
    "mac": _pattern(r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}"),
    "uuid": _pattern(_UUID % ("[0-9a-f]", "[0-9a-f]")),
    "uuid3": _pattern(_UUID % ("3", "[0-9a-f]")),
    "uuid4": _pattern(_UUID % ("4", "[89ab]")),
    "uuid5": _pattern(_UUID % ("5", "[89ab]")),
    "email": _pattern(r"[^@\s]+@[^@\s]+"),
    "hostname": _pattern(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.?"),
    "uri": _pattern(r"([a-z][a-z0-9+.-]*:\S*|/\S*)"),
    "hexcolor": _pattern(r"#?([0-9a-f]{3}|[0-9a-f]{6})"),
    "bsonobjectid": _pattern(r"[0-9a-f]{24}"),
    "isbn10": _pattern(r"(\d[- ]?){9}[\dx]"),
    "isbn13": _pattern(r"(\d[- ]?){12}\d"),
    "ssn": _pattern(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "k8s-short-name": lambda text: not names.dns_label(text),
    "k8s-long-name": lambda text: not names.dns_subdomain(text),
}


#: Named so that the dashes do not matter.
_BY_NAME = {name.replace("-", ""): check for name, check in _FORMATS.items()}
#: Formats that are known and that every text has, as far as this server looks.
_ANYTHING = frozenset({"password", "creditcard", "isbn", "rgbcolor"})


def known(name: str) -> bool:
    """Whether a schema may demand it of texts; any other demands nothing."""
    name = name.replace("-", "")
    return name in _BY_NAME or name in _ANYTHING


def fits(name: str, text: str) -> bool:
    """Whether a text has the format."""
    check = _BY_NAME.get(name.replace("-", ""))
    return check is None or check(text)
