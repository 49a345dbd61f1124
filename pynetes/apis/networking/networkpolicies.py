"""NetworkPolicy: which traffic reaches and leaves pods."""

from collections.abc import Iterator

from pynetes.machinery import cells, field, inet, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Ports are TCP; a policy is for ingress, and for egress too if it has such rules."""
    spec = obj.get("spec")
    if spec is None:
        return
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if "egress" in spec else [])]


_TYPES = ("Ingress", "Egress")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Selectors, peers and ports of each rule."""
    spec = new.get("spec") or {}
    yield from validation.label_selector(spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                yield from _port(port, f"{path}.ports[{number}]")
            for number, peer in enumerate(rule.get(peers) or ()):
                yield from _peer(peer, f"{path}.{peers}[{number}]")
    types = spec.get("policyTypes") or ()
    if len(types) > len(_TYPES):
        yield field.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(types):
        if kind not in _TYPES:
            yield field.not_supported(f"spec.policyTypes[{index}]", kind, _TYPES)


def _port(port: Object, path: str) -> Iterator[field.Error]:
    yield from validation.one_of(port.get("protocol"), f"{path}.protocol", ("TCP", "UDP", "SCTP"), optional=True)
    number, end = port.get("port"), port.get("endPort")
    if end is not None and number is None:
        yield field.invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")
    elif end is not None and isinstance(number, str):
        yield field.invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
    if number is not None:
        yield from validation.port(number, f"{path}.port")
    if end is not None and isinstance(number, int):
        if end < number:
            yield field.invalid(f"{path}.endPort", number, "must be greater than or equal to `port`")
        yield from (field.invalid(f"{path}.endPort", end, text) for text in names.port_number(end))


def _peer(peer: Object, path: str) -> Iterator[field.Error]:
    if not peer:
        yield field.required(path, "must specify a peer")
    for name in ("podSelector", "namespaceSelector"):
        yield from validation.label_selector(peer.get(name), f"{path}.{name}")
    block = peer.get("ipBlock")
    if block is None:
        return
    yield from _block(block, f"{path}.ipBlock")
    if len(peer) > 1:
        yield field.forbidden(path, "may not specify both ipBlock and another peer")


def _block(block: Object, path: str) -> Iterator[field.Error]:
    cidr = block.get("cidr", "")
    if not cidr:
        yield field.required(f"{path}.cidr")
        return
    yield from validation.checked(cidr, f"{path}.cidr", inet.cidr)
    whole = inet.block(cidr)
    if whole is None:
        return
    for index, inner in enumerate(block.get("except") or ()):
        place = f"{path}.except[{index}]"
        yield from validation.checked(inner, place, inet.cidr)
        part = inet.block(inner)
        if part is None:
            continue
        if part.version != whole.version or part == whole or not part.subnet_of(whole):  # type: ignore[arg-type]
            yield field.invalid(place, inner, "must be a strict subset of `cidr`")


def warnings(new: Object, old: Object | None) -> list[str]:
    """Blocks that are written in another way than others."""
    spec = new.get("spec") or {}
    found: list[str] = []
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            for number, peer in enumerate(rule.get(side) or ()):
                path, block = f"spec.{direction}[{index}].{side}[{number}].ipBlock", peer.get("ipBlock") or {}
                found.extend(inet.cidr_warnings(block.get("cidr", ""), f"{path}.cidr"))
                for place, inner in enumerate(block.get("except") or ()):
                    found.extend(inet.cidr_warnings(inner, f"{path}.except[{place}]"))
    return found


RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    default=default,
    columns=(Column("Pod-Selector", cells.selector(".spec.podSelector")), Column.AGE),
    validate=validate,
    warnings=warnings,
)
