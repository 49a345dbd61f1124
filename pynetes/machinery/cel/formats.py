"""The library of named formats: format.dns1123Label().validate(text), format.named('uri').

A format is carried as its name. What upstream's functions give as optionals are lists of one item or none here, which
`rewriting` makes optionals of.
"""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from pynetes.machinery import names
from pynetes.machinery.schema import formats

Validator = Callable[[str], list[str]]


def _prefix(validate: Validator) -> Validator:
    """Of what generateName may be: the rest, which is made up, ends it well."""
    return lambda text: validate(f"{text[:-1]}a" if len(text) > 1 and text.endswith("-") else text)


def _like(form: str, problem: str) -> Validator:
    return lambda text: [] if formats.fits(form, text) else [problem]


def _uri(text: str) -> list[str]:
    if not text:
        return [f'parse "{text}": empty url']
    try:
        parts = urlsplit(text)
    except ValueError as error:
        return [f'parse "{text}": {error}']
    return [] if parts.scheme or text.startswith("/") else [f'parse "{text}": invalid URI for request']


FORMATS: Mapping[str, Validator] = {
    "dns1123Label": names.dns_label,
    "dns1123Subdomain": names.dns_subdomain,
    "dns1035Label": names.dns1035_label,
    "qualifiedName": names.qualified_name,
    "dns1123LabelPrefix": _prefix(names.dns_label),
    "dns1123SubdomainPrefix": _prefix(names.dns_subdomain),
    "dns1035LabelPrefix": _prefix(names.dns1035_label),
    "labelValue": names.label_value,
    "uri": _uri,
    "uuid": _like("uuid", "does not match the UUID format"),
    "byte": _like("byte", "invalid base64"),
    "date": _like("date", "invalid date"),
    "datetime": _like("date-time", "invalid datetime"),
}


def named(name: str) -> list[str]:
    """The format of this name, if there is one."""
    return [name] if name in FORMATS else []


def validate(name: str, text: str) -> list[list[str]]:
    """What is wrong with a text, if anything is."""
    problems = FORMATS[name](text)
    return [problems] if problems else []
