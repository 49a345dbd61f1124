"""What values in annotations may look like: for each kind of value a grammar that lists what is allowed.

Values are only ever data for nginx, so nothing here guards against directives; it guards against values that mean
something else than their author thinks, and against headers and addresses that a browser would be led astray by.
Readers return the value and raise ValueError with a sentence for the author.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
#: Characters of a URL's path (RFC 3986, section 3.3), and $ for captures.
_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*")
_EXPRESSION = re.compile(r"/?[A-Za-z0-9\-._~!$&'()*+,;=:@%/\\\[\]{}^|? ]+")
_URL = re.compile(r"https?://[A-Za-z0-9\-._~:\[\]]+(/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?#]*)?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_TEXT = re.compile(r"[A-Za-z0-9 \-._~!()*+,:;=@/]{1,128}")
_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9\-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9\-]*[a-z0-9])?)*")
_NAME = re.compile(r"[a-z0-9]([a-z0-9\-.]*[a-z0-9])?")
_COOKIE = re.compile(r"[A-Za-z0-9_]{1,64}")
_ORIGIN = re.compile(r"\*|(https?://)?(\*\.)?[A-Za-z0-9\-.]+(:[0-9]{1,5})?")
_SIZE = re.compile(r"([0-9]{1,9})([kmgKMG]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
LONGEST = 2048
Network = tuple[str, int]


def _matching(pattern: "re.Pattern[str]", what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > LONGEST or not pattern.fullmatch(text):
            raise ValueError(f"must be {what}")
        return text

    return read


path = _matching(_PATH, "a path that begins with / and has characters of URLs only")
url = _matching(_URL, "a URL that begins with http:// or https://")
token = _matching(_TOKEN, "the name of a header")
text = _matching(_TEXT, "up to 128 letters, digits, spaces and plain punctuation")
host = _matching(_HOST, "a DNS name")
name = _matching(_NAME, "the name of an object in the same namespace")
cookie = _matching(_COOKIE, "up to 64 letters, digits and underscores")
#: A web origin, possibly with * for its first label.
origin = _matching(_ORIGIN, "origins such as https://app.example.com or https://*.example.com")


def boolean(given: str) -> bool:
    """true or false."""
    if given not in ("true", "false"):
        raise ValueError('must be "true" or "false"')
    return given == "true"


def switch(given: str) -> bool:
    """on or off."""
    if given not in ("on", "off"):
        raise ValueError('must be "on" or "off"')
    return given == "on"


def whole(least: int, most: int) -> Callable[[str], int]:
    """A number between two."""

    def read(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", given) or not least <= int(given) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(given)

    return read


def seconds(given: str) -> int:
    """Seconds, with or without their unit."""
    return whole(1, 86400)(given.removesuffix("s"))


def size(given: str) -> int:
    """Bytes, with k, m or g for powers of 1024; 0 is any number."""
    found = _SIZE.fullmatch(given)
    if not found:
        raise ValueError("must be a number of bytes such as 8m")
    return int(found[1]) * _UNITS[found[2].lower()]


def one_of(words: Mapping[str, T]) -> Callable[[str], T]:
    """One of some words, by what it stands for."""

    def read(given: str) -> T:
        if given not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return words[given]

    return read


def listed(read: Callable[[str], T]) -> Callable[[str], list[T]]:
    """Values separated by commas."""

    def read_all(given: str) -> list[T]:
        parts = [part.strip() for part in given.split(",")]
        return [read(part) for part in parts if part]

    return read_all


def network(given: str) -> Network:
    """An address or CIDR, as hexadecimal digits and the length of its prefix."""
    try:
        found = ipaddress.ip_network(given, strict=False)
    except ValueError:
        raise ValueError(f"{given[:60]!r} is no address and no CIDR") from None
    return found.network_address.packed.hex(), found.prefixlen


def headers(given: str) -> str:
    """Names of headers or methods, separated by commas."""
    return ", ".join(listed(token)(given))


def expression(given: str) -> str:
    """A regular expression that Perl's and Python's grammars share: no look-around, no back-references, no flags."""
    if len(given) > 512 or not _EXPRESSION.fullmatch(given):
        raise ValueError(
            "must be a regular expression of at most 512 characters of URLs and of groups, sets and counts"
        )
    if "(?" in given.replace("(?:", "") or re.search(r"\\[0-9]", given):
        raise ValueError("must not look around, refer back or set flags")
    try:
        re.compile(given)
    except re.error as problem:
        raise ValueError(f"is no regular expression: {problem}") from None
    return given


def template(given: str) -> str:
    """A path in which $1 to $9 stand for what groups of the path's regular expression matched."""
    if not given.startswith("$"):
        path(given)
    elif not _PATH.fullmatch(f"/{given}"):
        raise ValueError("must be a path")
    if re.search(r"\$(?![1-9])", given):
        raise ValueError("may have $1 to $9 and no other $")
    return given


def either(*readers: Callable[[str], Any]) -> Callable[[str], Any]:
    """What the first reader that accepts it makes of it; the last one's complaint."""

    def read(given: str) -> Any:
        for reader in readers[:-1]:
            try:
                return reader(given)
            except ValueError:
                continue
        return readers[-1](given)

    return read
