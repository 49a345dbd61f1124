"""Which devices a claim gets: selectors, counts, constraints, alternatives, and what others have."""

from typing import Any

import pytest

from pynetes.machinery.meta import Object
from pynetes.scheduler import devices
from pynetes.scheduler.devices import Id, Inventory

NODE: Object = {"metadata": {"name": "n1", "labels": {"zone": "a"}}}
CLASSES: dict[str, Object] = {
    "any": {"metadata": {"name": "any"}, "spec": {}},
    "gpu": {
        "metadata": {"name": "gpu"},
        "spec": {
            "selectors": [{"cel": {"expression": 'device.driver == "d.test"'}}],
            "config": [{"opaque": {"driver": "d.test", "parameters": {"mode": "fast"}}}],
        },
    },
}


def device(name: str, *, model: str = "m", memory: str = "1Gi", **more: Any) -> Object:
    """A device with an attribute and a capacity."""
    attributes = {"model": {"string": model}, "index": {"int": int(name[-1])}}
    return {"name": name, "attributes": attributes, "capacity": {"memory": {"value": memory}}, **more}


def slice_(*of: Object, name: str = "s", generation: int = 1, count: int = 1, **where: Any) -> Object:
    """A slice of n1's pool."""
    pool = {"name": "n1", "generation": generation, "resourceSliceCount": count}
    spec = {"driver": "d.test", "pool": pool, "devices": list(of), **(where or {"nodeName": "n1"})}
    return {"metadata": {"name": name, "resourceVersion": f"{name}{generation}"}, "spec": spec}


def claim(*requests: Object, **more: Any) -> Object:
    """A claim with these requests."""
    return {"metadata": {"name": "c"}, "spec": {"devices": {"requests": list(requests), **more}}}


def request(name: str = "r", kind: str = "any", *expressions: str, **more: Any) -> Object:
    """A request for exactly one device, or as told."""
    selectors = [{"cel": {"expression": one}} for one in expressions]
    return {"name": name, "exactly": {"deviceClassName": kind, "selectors": selectors, **more}}


def picked(wanted: Object, slices: list[Object], taken: set[Id] | None = None) -> list[str] | None:
    """The names of the devices that a claim gets on n1."""
    found = devices.allocate(wanted, CLASSES, Inventory().on(slices, NODE), taken or set(), NODE)
    return [one["device"] for one in found["devices"]["results"]] if found else None


def test_selectors_see_attributes_and_capacity() -> None:
    """CEL over the driver's own domain; what a selector cannot find is no match."""
    slices = [slice_(device("g0"), device("g1", model="big", memory="4Gi"))]
    big = 'device.attributes["d.test"].model == "big"'
    large = 'device.capacity["d.test"].memory.compareTo(quantity("2Gi")) > 0'
    assert picked(claim(request("r", "gpu", big)), slices) == ["g1"]
    assert picked(claim(request("r", "gpu", large)), slices) == ["g1"]
    assert picked(claim(request("r", "any", 'device.attributes["other.test"].x == 1')), slices) is None


def test_counts_and_others() -> None:
    """As many as asked for, none that somebody has; All means every one."""
    slices = [slice_(device("g0"), device("g1"), device("g2"))]
    assert picked(claim(request(count=2)), slices) == ["g0", "g1"]
    assert picked(claim(request(count=2)), slices, {Id("d.test", "n1", "g0")}) == ["g1", "g2"]
    assert picked(claim(request(count=4)), slices) is None
    assert picked(claim(request(allocationMode="All")), slices) == ["g0", "g1", "g2"]
    assert picked(claim(request(allocationMode="All")), slices, {Id("d.test", "n1", "g1")}) is None
    taken = {Id("d.test", "n1", "g0")}
    assert picked(claim(request(adminAccess=True)), [slice_(device("g0"))], taken) == ["g0"]


def test_constraints_make_it_go_back() -> None:
    """The first device that fits is given up when the second request then finds none like it."""
    slices = [slice_(device("g0", model="a"), device("g1", model="b"), device("g2", model="b"))]
    same = [{"requests": ["one", "two"], "matchAttribute": "d.test/model"}]
    assert picked(claim(request("one"), request("two"), constraints=same), slices) == ["g1", "g2"]
    other = [{"distinctAttribute": "d.test/model"}]
    assert picked(claim(request("one"), request("two"), constraints=other), slices) == ["g0", "g1"]


def test_alternatives_in_their_order() -> None:
    """The first alternative that can be met."""
    big, any_ = 'device.attributes["d.test"].model == "big"', "true"
    made = [
        {"name": name, "deviceClassName": "any", "selectors": [{"cel": {"expression": one}}]}
        for name, one in (("big", big), ("any", any_))
    ]
    wanted = claim({"name": "r", "firstAvailable": made})
    found = devices.allocate(wanted, CLASSES, Inventory().on([slice_(device("g0"))], NODE), set(), NODE)
    assert found is not None
    assert found["devices"]["results"][0]["request"] == "r/any"


def test_what_a_claim_is_told() -> None:
    """The class's configuration comes before the claim's; a node's device binds the claim to the node."""
    own = [{"opaque": {"driver": "d.test", "parameters": {"mode": "slow"}}}]
    wanted = claim(request("r", "gpu"), config=own)
    found = devices.allocate(wanted, CLASSES, Inventory().on([slice_(device("g0"))], NODE), set(), NODE)
    assert found is not None
    assert [one["source"] for one in found["devices"]["config"]] == ["FromClass", "FromClaim"]
    (term,) = found["nodeSelector"]["nodeSelectorTerms"]
    assert term["matchFields"][0]["values"] == ["n1"]


def test_pools_count_when_they_are_whole() -> None:
    """Of a pool the newest generation counts, and only when all its slices are there; slices of other nodes do not."""
    old, new = slice_(device("g0")), slice_(device("g1"), name="new", generation=2, count=2)
    assert picked(claim(request()), [old, new]) is None
    rest = slice_(device("g2"), name="rest", generation=2, count=2)
    assert picked(claim(request(count=2)), [old, new, rest]) == ["g1", "g2"]
    assert picked(claim(request()), [slice_(device("g0"), nodeName="n2")]) is None
    assert picked(claim(request()), [slice_(device("g0"), allNodes=True)]) == ["g0"]


def test_tainted_devices_need_toleration() -> None:
    """A device that a driver or an administrator has tainted goes only to who tolerates that."""
    slices = [slice_(device("g0", taints=[{"key": "broken", "effect": "NoSchedule"}]))]
    assert picked(claim(request()), slices) is None
    assert picked(claim(request(tolerations=[{"key": "broken", "operator": "Exists"}])), slices) == ["g0"]


def test_absent_class() -> None:
    """No node can meet a request of a class that is not there, and the reason says so."""
    with pytest.raises(devices.Impossible, match="device class none does not exist"):
        devices.allocate(claim(request("r", "none")), CLASSES, [], set(), NODE)
