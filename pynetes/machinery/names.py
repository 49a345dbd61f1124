"""Rules for names: what a label, a DNS name, a port name or a config key may look like.

Each rule returns the mistakes as texts, worded as upstream's util/validation words them, because field errors carry
them to clients. An empty list means the text is good.
"""

import re
from collections.abc import Callable
from typing import TypeAlias

Rule: TypeAlias = Callable[[str], list[str]]

_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_DNS1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_PERCENT = "[0-9]+%"

_ALNUM_ENDS = "must start and end with an alphanumeric character"


def regex_error(message: str, pattern: str, *examples: str) -> str:
    """The tail every rule has: examples and the pattern, with upstream's odd spacing."""
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


def too_long(limit: int, unit: str = "bytes") -> str:
    """The text for a name above its limit."""
    return f"must be no more than {limit} {unit}"


_LABEL_TEXT = regex_error(
    f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and {_ALNUM_ENDS}",
    _DNS_LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_TEXT = regex_error(
    f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and {_ALNUM_ENDS}",
    SUBDOMAIN,
    "example.com",
)
_SEARCH_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCH = rf"{_SEARCH_LABEL}(\.{_SEARCH_LABEL})*"
_SEARCH_TEXT = regex_error(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
    f"and {_ALNUM_ENDS}",
    _SEARCH,
    "example.com",
)
_DNS1035_TEXT = regex_error(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    _DNS1035,
    "my-name",
    "abc-123",
)
_QUALIFIED_TEXT = regex_error(
    f"must consist of alphanumeric characters, '-', '_' or '.', and {_ALNUM_ENDS}",
    _QUALIFIED,
    "MyName",
    "my.name",
    "123-abc",
)
_LABEL_VALUE_TEXT = regex_error(
    f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and {_ALNUM_ENDS}",
    f"({_QUALIFIED})?",
    "MyValue",
    "my_value",
    "12345",
)
_CONFIG_KEY_TEXT = regex_error(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)

_dns_label = re.compile(_DNS_LABEL).fullmatch
_subdomain = re.compile(SUBDOMAIN).fullmatch
_search = re.compile(_SEARCH).fullmatch
_dns1035 = re.compile(_DNS1035).fullmatch
_qualified = re.compile(_QUALIFIED).fullmatch
_config_key = re.compile(_CONFIG_KEY).fullmatch
_percent = re.compile(_PERCENT).fullmatch


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def dns_label(text: str) -> list[str]:
    """RFC 1123 label, 63 characters: namespaces, containers, volumes."""
    errors = [too_long(63, "characters")] if _size(text) > 63 else []
    if _dns_label(text):
        return errors
    # A subdomain that is no label can only have dots too many.
    return [*errors, "must not contain dots" if _subdomain(text) else _LABEL_TEXT]


def dns_subdomain(text: str) -> list[str]:
    """RFC 1123 subdomain, 253 characters: most object names."""
    errors = [too_long(253, "characters")] if _size(text) > 253 else []
    return errors if _subdomain(text) else [*errors, _SUBDOMAIN_TEXT]


def dns_search(text: str) -> list[str]:
    """A domain that resolvers search: a subdomain with underscores."""
    errors = [too_long(253, "characters")] if _size(text) > 253 else []
    return errors if _search(text) else [*errors, _SEARCH_TEXT]


def dns1035_label(text: str) -> list[str]:
    """RFC 1035 label, 63 characters: services."""
    errors = [too_long(63, "characters")] if _size(text) > 63 else []
    return errors if _dns1035(text) else [*errors, _DNS1035_TEXT]


def path_segment(text: str) -> list[str]:
    """What may stand between two slashes of a URL: RBAC names."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in text]


def qualified_name(text: str) -> list[str]:
    """An optional DNS prefix, a slash, and a name: label and annotation keys, resource names, taints."""
    errors: list[str] = []
    prefix, slash, name = text.partition("/")
    if not slash:
        name = text
    elif "/" in name:
        optional = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a qualified name {_QUALIFIED_TEXT}{optional}"]
    elif not prefix:
        errors.append("prefix part must be non-empty")
    else:
        errors += [f"prefix part {message}" for message in dns_subdomain(prefix)]
    if not name:
        errors.append("name part must be non-empty")
    elif _size(name) > 63:
        errors.append(f"name part {too_long(63)}")
    if not _qualified(name):
        errors.append(f"name part {_QUALIFIED_TEXT}")
    return errors


def label_value(text: str) -> list[str]:
    """The value of a label: empty, or like the name part of a qualified name."""
    errors = [too_long(63)] if _size(text) > 63 else []
    return errors if not text or _qualified(text) else [*errors, _LABEL_VALUE_TEXT]


def config_map_key(text: str) -> list[str]:
    """A key of ConfigMap.data and Secret.data, which becomes a file name."""
    errors = [too_long(253)] if _size(text) > 253 else []
    if not _config_key(text):
        errors.append(_CONFIG_KEY_TEXT)
    if text in (".", ".."):
        errors.append(f"must not be '{text}'")
    elif text.startswith(".."):
        errors.append("must not start with '..'")
    return errors


def env_var_name(text: str) -> list[str]:
    """Any printable ASCII but "=": what a process environment can hold."""
    if not text:
        return ["environment variable name must be non-empty"]
    if text.isascii() and text.isprintable() and "=" not in text:
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def port_name(text: str) -> list[str]:
    """An IANA service name: at most 15 characters."""
    errors = [too_long(15, "characters")] if _size(text) > 15 else []
    if not re.fullmatch("[-a-z0-9]+", text):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def port_number(number: int) -> list[str]:
    """1 to 65535."""
    return [] if 1 <= number <= 65535 else ["must be between 1 and 65535, inclusive"]


def http_header(text: str) -> list[str]:
    """The name of an HTTP header."""
    pattern = "[-A-Za-z0-9]+"
    if re.fullmatch(pattern, text):
        return []
    return [regex_error("a valid HTTP header must consist of alphanumeric characters or '-'", pattern, "X-Header-Name")]


def percent(text: str) -> list[str]:
    """A number with % behind it."""
    if _percent(text):
        return []
    return [
        regex_error("a valid percent string must be a numeric string followed by an ending '%'", _PERCENT, "1%", "93%")
    ]


#: Resource.name_rule → the check of metadata.name.
RULES: dict[str, Rule] = {
    "dns-subdomain": dns_subdomain,
    "dns-label": dns_label,
    "dns1035-label": dns1035_label,
    "path-segment": path_segment,
}
