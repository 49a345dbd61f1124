"""Secret: keys with bytes, kept from casual view."""

import base64
from collections.abc import Iterator
from typing import Any

import orjson

from pynetes.apis.core import _data_validation, _key_pair
from pynetes.machinery import cells, field, go_json
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Opaque unless told otherwise; stringData is a way to write data, never stored."""
    obj.setdefault("type", "Opaque")
    texts: dict[str, Any] | None = obj.pop("stringData", None)
    if texts:
        data = obj.setdefault("data", {})
        data.update({name: base64.b64encode(text.encode()).decode() for name, text in texts.items()})


#: Type → the keys it cannot do without.
_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
}
#: Those that must not be empty either.
_FILLED = ("ssh-privatekey",)
_JSON_KEYS = (".dockercfg", ".dockerconfigjson")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Keys, size, what the type demands, and an immutable one stays as it is."""
    if old is not None and old.get("type") != new.get("type"):
        yield field.invalid("type", new.get("type"), "field is immutable")
    yield from _data_validation.validate_data(new, old, text=(), binary=("data",))
    kind, data = new.get("type"), new.get("data") or {}
    for key in _KEYS.get(kind or "", ()):
        if key not in data or (key in _FILLED and not data[key]):
            yield field.required(f"data[{key}]")
        elif key in _JSON_KEYS and (detail := _no_object(base64.b64decode(data[key]))):
            yield field.invalid(f"data[{key}]", "<secret contents redacted>", detail)
    if kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        yield field.required("data[username]")
        yield field.required("data[password]")
    annotations = new["metadata"].get("annotations") or {}
    if kind == "kubernetes.io/service-account-token" and not annotations.get("kubernetes.io/service-account.name"):
        yield field.required("metadata.annotations[kubernetes.io/service-account.name]")


def _no_object(text: bytes) -> str:
    """Why it is no JSON object, in the words of the decoder; "" if it is one."""
    if problem := go_json.problem(text):
        return problem
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        # What only our decoder minds (the encoding within a string) is no reason to refuse.
        return ""
    if value is None or isinstance(value, dict):
        return ""
    word = {list: "array", str: "string", bool: "bool"}.get(type(value), "number")
    return f"json: cannot unmarshal {word} into Go value of type map[string]interface {{}}"


def warnings(new: Object, old: Object | None) -> list[str]:
    """A certificate and a key that do not belong together."""
    if new.get("type") != "kubernetes.io/tls":
        return []
    certificate, key = (
        base64.b64decode((new.get("data") or {}).get(name) or "") for name in _KEYS["kubernetes.io/tls"]
    )
    found = _key_pair.problem(certificate, key)
    return [found] if found else []


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Secret",
    plural="secrets",
    generation=False,
    default=default,
    fields={"type": ".type"},
    columns=(Column("Type", ".type"), Column("Data", cells.count(".data")), Column.AGE),
    validate=validate,
    warnings=warnings,
)
