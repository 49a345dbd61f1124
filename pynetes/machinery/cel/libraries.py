"""The functions that Kubernetes adds to CEL: quantities, addresses, URLs, regular expressions, lists, sets, versions,
and the authorizer's questions.
"""

import ipaddress
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

from cel_expr_python import cel

from pynetes.machinery import field, quantity
from pynetes.machinery.cel import formats

#: Answers a question to the authorizer: (allowed, reason).
Check: TypeAlias = Callable[[Mapping[str, Any]], tuple[bool, str]]
Impl: TypeAlias = Callable[..., Any]

_T = cel.Type
_S, _B, _I, _D = _T.STRING, _T.BOOL, _T.INT, _T.DYN
_LIST, _MAP = _T.List(_T.DYN), _T.Map(_T.DYN, _T.DYN)
_SUFFIX = re.compile(r"([-+])")
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


def _valid(read: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            read(text)
        except (ValueError, KeyError):
            return False
        return True

    return check


def _quantity(text: str) -> str:
    return str(quantity.parse(text))


def _ip(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        about = "parse error during conversion from string"
        raise ValueError(f"IP Address {field.quote(text)} {about}: {_no_address(text)}") from error
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id:
        raise ValueError(f"IP address {field.quote(text)} with zone value is not allowed")
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        raise ValueError(f"IPv4-mapped IPv6 address {field.quote(text)} is not allowed")
    return str(found)


def _no_address(text: str) -> str:
    """Why Go reads no address in the text."""
    about = f"ParseAddr({field.quote(text)}): "
    first = next((char for char in text if char in ".:%"), "")
    if first == "":
        return f"{about}unable to parse IP"
    if first == "%":
        return f"{about}missing IPv6 address"
    if first == ":":
        return f"{about}{_no_address6(text)}"
    parts = text.split(".")
    for number, part in enumerate(parts):
        if (odd := re.search(r"[^0-9]", part)) is not None:
            rest = ".".join([part[odd.start() :], *parts[number + 1 :]])
            return f"{about}unexpected character (at {field.quote(rest)})"
        if len(part) > 1 and part[0] == "0":
            return f"{about}IPv4 field has octet with leading zero"
        if part and int(part) > 255:
            return f"{about}IPv4 field has value >255"
        if not part:
            rest = "." + ".".join(parts[number + 1 :]) if number + 1 < len(parts) else "."
            return f"{about}IPv4 field must have at least one digit (at {field.quote(rest)})"
        if number == 4:
            return f"{about}IPv4 address too long"
    return f"{about}IPv4 address too short"


def _no_address6(text: str) -> str:
    for part in re.finditer(r"[^:]+", text):
        if (odd := re.search(r"[^0-9A-Fa-f]", part[0])) is not None:
            if odd.start() == 0:
                rest = field.quote(text[part.start() :])
                return f"each colon-separated field must have at least one digit (at {rest})"
            return f"unexpected character, want colon (at {field.quote(text[part.start() + odd.start() :])})"
        if len(part[0]) > 4:
            return f"each group must have 4 or less digits (at {field.quote(text[part.start() :])})"
    return "address string too short"


def _cidr(text: str) -> str:
    about = "network address parse error during conversion from string: "
    about = f"{about}{about}netip.ParsePrefix({field.quote(text)}): "
    address, slash, bits = text.rpartition("/")
    if not slash:
        raise ValueError(f"{about}no '/'")
    try:
        found = ipaddress.ip_address(address)
    except ValueError as error:
        raise ValueError(f"{about}{_no_address(address)}") from error
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id:
        raise ValueError(f"{about}IPv6 zones cannot be present in a prefix")
    if not re.fullmatch(r"0|[1-9][0-9]*", bits):
        raise ValueError(f"{about}bad bits after slash: {field.quote(bits)}")
    if int(bits) > found.max_prefixlen:
        raise ValueError(f"{about}prefix length out of range")
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        mapped = f"IPv4-mapped IPv6 address {field.quote(text)} is not allowed"
        raise ValueError(f"network address parse error during conversion from string: {mapped}")
    return str(ipaddress.ip_interface(text))


def _net(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_interface(text).network


def _contains(outer: str, inner: str) -> bool:
    one, other = _net(outer), _net(inner)
    return one.version == other.version and other.subnet_of(one)  # type: ignore[arg-type]


def _url(text: str) -> str:
    parts = urlsplit(text)
    if not (parts.scheme or text.startswith("/")):
        why = "empty url" if not text else "invalid URI for request"
        why = f"parse {field.quote(text)}: {'missing protocol scheme' if text.startswith(':') else why}"
        raise ValueError(f"URL parse error during conversion from string: {why}")
    return text


def _hostname(text: str) -> str:
    host = urlsplit(text).netloc.rpartition("@")[2]
    return host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]


def _semver(text: str, lenient: bool = False) -> str:
    """Lenient also reads v1, 1.2 and 01.2.3."""
    if lenient:
        head, mark, rest = (
            _SUFFIX.split(text.removeprefix("v"), maxsplit=1)
            if _SUFFIX.search(text)
            else (text.removeprefix("v"), "", "")
        )
        numbers = [part.lstrip("0") or "0" for part in head.split(".")]
        text = ".".join(numbers + ["0"] * (3 - len(numbers))) + mark + rest
    if not _SEMVER.fullmatch(text):
        raise ValueError(_no_version(text))
    return text


def _no_version(text: str) -> str:
    """Why no version is read in the text."""
    if not text:
        return "Version string empty"
    parts = text.split(".", 2)
    if len(parts) != 3:
        return "No Major.Minor.Patch elements found"
    numbers = (parts[0], parts[1], re.split(r"[-+]", parts[2], maxsplit=1)[0])
    for name, part in zip(("major", "minor", "patch"), numbers, strict=True):
        if not re.fullmatch("[0-9]*", part):
            return f"Invalid character(s) found in {name} number {field.quote(part)}"
        if len(part) > 1 and part[0] == "0":
            return f"{name.capitalize()} number must not contain leading zeroes {field.quote(part)}"
        if not part:
            return 'strconv.ParseUint: parsing "": invalid syntax'
    return f"not a semantic version: {field.quote(text)}"


def _is_semver(text: str, lenient: bool) -> bool:
    try:
        _semver(text, lenient)
    except ValueError:
        return False
    return True


def _version(text: str) -> tuple[Any, ...]:
    found = _SEMVER.fullmatch(text)
    if not found:
        raise ValueError("no such overload")
    before = [(not part.isdigit(), int(part) if part.isdigit() else part) for part in (found[4] or "").split(".")]
    return (int(found[1]), int(found[2]), int(found[3]), not found[4], before if found[4] else [])


def _order(one: str, other: str) -> int:
    """Of two quantities or two versions; both are carried as texts."""
    both = (one, other)
    left, right = (
        [_version(text) for text in both]
        if all(_SEMVER.fullmatch(text) for text in both)
        else [quantity.parse(text).nanos for text in both]
    )
    return bool(left > right) - bool(left < right)  # type: ignore[operator]


def _sorted(items: list[Any]) -> bool:
    return all(one <= other for one, other in itertools.pairwise(items))


def _least(choose: Impl) -> Impl:
    def apply(items: list[Any]) -> Any:
        if not items:
            raise ValueError("min/max called on empty list")
        return choose(items)

    return apply


def _first(value: Any, item: Any, start: int = 0) -> int:
    if isinstance(value, str):
        if start < 0 or start > len(value):
            raise ValueError(f"index out of range: {start}")
        return value.find(item, start)
    return next((index for index, each in enumerate(value) if each == item), -1)


def _last(value: Any, item: Any, end: int | None = None) -> int:
    if isinstance(value, str):
        if end is not None and not 0 <= end <= len(value):
            raise ValueError(f"index out of range: {end}")
        return value.rfind(item) if end is None else value.rfind(item, 0, end + len(item))
    return next((index for index in reversed(range(len(value))) if value[index] == item), -1)


def _searched(search: Impl) -> Iterator[tuple[Any, list[Any], bool, Impl]]:
    # The runtime chooses by the kinds of all arguments, and knows no kind that is any.
    for item in (_S, _I, _B, _T.UINT, _T.DOUBLE, _T.BYTES, _T.TIMESTAMP, _T.DURATION, _LIST, _MAP):
        yield _I, [_LIST, item], True, search
    for parameters in ([_S, _S], [_S, _S, _I]):
        yield _I, parameters, True, search


def _decl(name: str, *overloads: tuple[Any, list[Any], bool, Impl]) -> cel.FunctionDecl:
    made = [
        cel.Overload(f"k8s_{name.replace('.', '_')}_{number}", result, parameters, member, impl)
        for number, (result, parameters, member, impl) in enumerate(overloads)
    ]
    return cel.FunctionDecl(name, made)


def functions(check: Callable[[], Check | None]) -> list[cel.FunctionDecl]:
    """All of them; check finds who answers the authorizer's questions."""
    return [*_texts(), *_addresses(), *_urls(), *_collections(), *_authorizer(check)]


def _texts() -> list[cel.FunctionDecl]:
    def binary(sign: int) -> Impl:
        def apply(one: str, other: str | int) -> str:
            amount = quantity.parse(other)
            return str(quantity.parse(one) + (amount if sign > 0 else -amount))

        return apply

    def part(index: int) -> Impl:
        return lambda text: _version(text)[index]

    def find(text: str, pattern: str) -> str:
        found = re.search(pattern, text)
        return found[0] if found else ""

    def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
        found = [match[0] for match in re.finditer(pattern, text)]
        return found if limit < 0 else found[:limit]

    def nanos(text: str) -> int:
        return quantity.parse(text).nanos

    return [
        _decl("quantity", (_S, [_S], False, _quantity)),
        _decl("isQuantity", (_B, [_S], False, _valid(quantity.parse))),
        _decl("isInteger", (_B, [_S], True, lambda q: nanos(q) % quantity.NANO == 0)),
        _decl("asInteger", (_I, [_S], True, lambda q: quantity.parse(q).value())),
        _decl("asApproximateFloat", (_T.DOUBLE, [_S], True, lambda q: nanos(q) / quantity.NANO)),
        _decl("sign", (_I, [_S], True, lambda q: (nanos(q) > 0) - (nanos(q) < 0))),
        _decl("add", (_S, [_S, _S], True, binary(1)), (_S, [_S, _I], True, binary(1))),
        _decl("sub", (_S, [_S, _S], True, binary(-1)), (_S, [_S, _I], True, binary(-1))),
        _decl("isGreaterThan", (_B, [_S, _S], True, lambda one, other: _order(one, other) > 0)),
        _decl("isLessThan", (_B, [_S, _S], True, lambda one, other: _order(one, other) < 0)),
        _decl("compareTo", (_I, [_S, _S], True, _order)),
        _decl("semver", (_S, [_S], False, _semver), (_S, [_S, _B], False, _semver)),
        _decl("isSemver", (_B, [_S], False, _valid(_semver)), (_B, [_S, _B], False, _is_semver)),
        _decl("major", (_I, [_S], True, part(0))),
        _decl("minor", (_I, [_S], True, part(1))),
        _decl("patch", (_I, [_S], True, part(2))),
        _decl("find", (_S, [_S, _S], True, find)),
        _decl("findAll", (_T.List(_S), [_S, _S], True, find_all), (_T.List(_S), [_S, _S, _I], True, find_all)),
        _decl("format.named", (_LIST, [_S], False, formats.named)),
        *(_decl(f"format.{name}", (_S, [], False, lambda name=name: name)) for name in formats.FORMATS),
        _decl("validate", (_LIST, [_S, _S], True, formats.validate)),
        _decl("jsonpatch.escapeKey", (_S, [_S], False, lambda key: key.replace("~", "~0").replace("/", "~1"))),
    ]


def _addresses() -> list[cel.FunctionDecl]:
    def about(name: str) -> Impl:
        return lambda text: bool(getattr(ipaddress.ip_address(text), name))

    def multicast(text: str) -> bool:
        address = ipaddress.ip_address(text)
        return address in ipaddress.ip_network("224.0.0.0/24" if address.version == 4 else "ff02::/16")

    def unicast(text: str) -> bool:
        address = ipaddress.ip_address(text)
        special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
        return not special and text != "255.255.255.255"

    def canonical(text: str) -> bool:
        return _ip(text) == text

    return [
        _decl("ip", (_S, [_S], False, _ip), (_S, [_S], True, lambda text: str(ipaddress.ip_interface(text).ip))),
        _decl("isIP", (_B, [_S], False, _valid(_ip))),
        _decl("ip.isCanonical", (_B, [_S], False, canonical)),
        _decl("family", (_I, [_S], True, lambda text: ipaddress.ip_address(text).version)),
        _decl("isUnspecified", (_B, [_S], True, about("is_unspecified"))),
        _decl("isLoopback", (_B, [_S], True, about("is_loopback"))),
        _decl("isLinkLocalMulticast", (_B, [_S], True, multicast)),
        _decl("isLinkLocalUnicast", (_B, [_S], True, about("is_link_local"))),
        _decl("isGlobalUnicast", (_B, [_S], True, unicast)),
        _decl("cidr", (_S, [_S], False, _cidr)),
        _decl("isCIDR", (_B, [_S], False, _valid(_cidr))),
        _decl("containsIP", (_B, [_S, _S], True, lambda net, ip: ipaddress.ip_address(ip) in _net(net))),
        _decl("containsCIDR", (_B, [_S, _S], True, _contains)),
        _decl("masked", (_S, [_S], True, lambda text: str(_net(text)))),
        _decl("prefixLength", (_I, [_S], True, lambda text: _net(text).prefixlen)),
    ]


def _urls() -> list[cel.FunctionDecl]:
    return [
        _decl("url", (_S, [_S], False, _url)),
        _decl("isURL", (_B, [_S], False, _valid(_url))),
        _decl("getScheme", (_S, [_S], True, lambda text: urlsplit(text).scheme)),
        _decl("getHost", (_S, [_S], True, lambda text: urlsplit(text).netloc.rpartition("@")[2])),
        _decl("getHostname", (_S, [_S], True, _hostname)),
        _decl("getPort", (_S, [_S], True, lambda text: str(urlsplit(text).port or ""))),
        _decl("getEscapedPath", (_S, [_S], True, lambda text: quote(urlsplit(text).path, safe="/%:@!$&'()*+,;=~"))),
        _decl(
            "getQuery",
            (_MAP, [_S], True, lambda text: parse_qs(urlsplit(text).query, keep_blank_values=True)),
        ),
    ]


def _collections() -> list[cel.FunctionDecl]:
    return [
        _decl("isSorted", (_B, [_LIST], True, _sorted)),
        _decl("sum", (_D, [_LIST], True, sum)),
        _decl("min", (_D, [_LIST], True, _least(min))),
        _decl("max", (_D, [_LIST], True, _least(max))),
        _decl("positionOf", *_searched(_first)),
        _decl("lastPositionOf", *_searched(_last)),
        _decl("mapOfPairs", (_MAP, [_LIST], True, dict)),
        _decl("mapOfEntries", (_MAP, [_LIST], True, _merged)),
    ]


def _merged(entries: list[Mapping[Any, Any]]) -> dict[Any, Any]:
    """One map of several. ValueError if a key comes again."""
    made: dict[Any, Any] = {}
    for each in entries:
        if again := made.keys() & each.keys():
            raise ValueError(f"insert failed: key {sorted(again, key=str)[0]} already exists")
        made |= each
    return made


def _authorizer(check: Callable[[], Check | None]) -> list[cel.FunctionDecl]:
    def narrowed(field: str) -> tuple[Any, list[Any], bool, Impl]:
        return (_MAP, [_MAP, _S], True, lambda about, value: {**about, field: value})

    def account(about: Mapping[str, Any], namespace: str, name: str) -> Mapping[str, Any]:
        return {**about, "serviceAccount": f"{namespace}:{name}"}

    def ask(about: Mapping[str, Any], verb: str = "") -> Mapping[str, Any]:
        answer = check()
        if answer is None:
            return {"allowed": False, "reason": "", "error": "nobody to ask"}
        allowed, reason = answer({**about, "verb": verb})
        return {"allowed": allowed, "reason": reason, "error": ""}

    return [
        *(_decl(name, narrowed(name)) for name in ("path", "group", "resource", "subresource", "namespace", "name")),
        *(_decl(name, narrowed(name)) for name in ("fieldSelector", "labelSelector")),
        _decl("serviceAccount", (_MAP, [_MAP, _S, _S], True, account)),
        _decl("check", (_MAP, [_MAP, _S], True, ask)),
        _decl("allowed", (_B, [_MAP], True, lambda answer: answer["allowed"])),
        _decl("reason", (_S, [_MAP], True, lambda answer: answer["reason"])),
        _decl("errored", (_B, [_MAP], True, lambda answer: bool(answer["error"]))),
        _decl("error", (_S, [_MAP], True, lambda answer: answer["error"])),
    ]
