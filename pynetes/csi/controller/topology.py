"""Where a volume may be made: the topologies of the nodes that have the driver, that of the pod's node first."""

from collections.abc import Sequence

from pynetes.machinery.meta import Object
from pynetes.rpc.csi import csi_pb2 as pb

Segments = tuple[tuple[str, str], ...]


def segments_of(node: Object, csi_node: Object | None, driver: str) -> Segments | None:
    """A node's topology for a driver; None where the driver is not, or has not labelled the node yet."""
    drivers = ((csi_node or {}).get("spec") or {}).get("drivers") or ()
    entry = next((one for one in drivers if one["name"] == driver), None)
    if entry is None:
        return None
    labels = node["metadata"].get("labels") or {}
    keys = sorted(entry.get("topologyKeys") or ())
    if any(key not in labels for key in keys):
        return None
    return tuple((key, labels[key]) for key in keys)


def requirement(
    selected: Segments | None, everywhere: Sequence[Segments], allowed: Sequence[Object], *, strict: bool
) -> pb.TopologyRequirement | None:
    """Where the volume has to be, and where it had best be; None when there is nothing to say.

    allowed are the class's allowedTopologies; strict: the selected node's place and no other."""
    if strict and selected is not None:
        places: list[Segments] = [selected]
    else:
        places = sorted({one for one in everywhere if not allowed or _allows(allowed, one)})
        if allowed and not places:
            places = sorted(set(_spelled_out(allowed)))
    if not places:
        return None
    first = places.index(selected) if selected in places else 0
    ordered = places[first:] + places[:first]
    return pb.TopologyRequirement(
        requisite=[pb.Topology(segments=dict(one)) for one in places],
        preferred=[pb.Topology(segments=dict(one)) for one in ordered],
    )


def _allows(allowed: Sequence[Object], place: Segments) -> bool:
    values = dict(place)
    return any(
        all(values.get(one["key"]) in one["values"] for one in term.get("matchLabelExpressions") or ())
        for term in allowed
    )


def _spelled_out(allowed: Sequence[Object]) -> list[Segments]:
    """Every combination of values that the class allows, for a driver that no node has yet."""
    found: list[Segments] = []
    for term in allowed:
        combined: list[Segments] = [()]
        for one in term.get("matchLabelExpressions") or ():
            combined = [(*before, (one["key"], value)) for before in combined for value in one["values"]]
        found += [tuple(sorted(one)) for one in combined]
    return found
