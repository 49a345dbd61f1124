"""Secret: keys with bytes, kept from casual view."""

import base64
from typing import Any

from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Opaque unless told otherwise; stringData is a way to write data, never stored."""
    obj.setdefault("type", "Opaque")
    texts: dict[str, Any] | None = obj.pop("stringData", None)
    if texts:
        data = obj.setdefault("data", {})
        data.update({name: base64.b64encode(text.encode()).decode() for name, text in texts.items()})


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Secret",
    plural="secrets",
    generation=False,
    default=default,
    fields={"type": ".type"},
    columns=(Column("Type", ".type"), Column("Data", cells.count(".data")), Column.AGE),
)
