"""Which devices a claim gets: selectors, counts, constraints, alternatives, and what others have."""

from typing import Any

import pytest

from pynetes.machinery.meta import Object
from pynetes.scheduler import devices
from pynetes.scheduler.devices import Inventory, Stock
from pynetes.scheduler.devicesharing import Id, Taken, count

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


def picked(wanted: Object, slices: list[Object], taken: Taken | None = None) -> list[str] | None:
    """The names of the devices that a claim gets on n1."""
    found = devices.allocate(wanted, CLASSES, Inventory().on(slices, NODE), taken or Taken(), NODE)
    return [one["device"] for one in found["devices"]["results"]] if found else None


def whole(*names: str) -> Taken:
    """What is taken when others have these devices."""
    return Taken({Id("d.test", "n1", one) for one in names})


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
    assert picked(claim(request(count=2)), slices, whole("g0")) == ["g1", "g2"]
    assert picked(claim(request(count=4)), slices) is None
    assert picked(claim(request(allocationMode="All")), slices) == ["g0", "g1", "g2"]
    assert picked(claim(request(allocationMode="All")), slices, whole("g1")) is None
    taken = whole("g0")
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
    found = devices.allocate(wanted, CLASSES, Inventory().on([slice_(device("g0"))], NODE), Taken(), NODE)
    assert found is not None
    assert found["devices"]["results"][0]["request"] == "r/any"


def test_what_a_claim_is_told() -> None:
    """The class's configuration comes before the claim's; a node's device binds the claim to the node."""
    own = [{"opaque": {"driver": "d.test", "parameters": {"mode": "slow"}}}]
    wanted = claim(request("r", "gpu"), config=own)
    found = devices.allocate(wanted, CLASSES, Inventory().on([slice_(device("g0"))], NODE), Taken(), NODE)
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
        devices.allocate(claim(request("r", "none")), CLASSES, Stock(), Taken(), NODE)


def partitions(*slots: int, of: int) -> list[Object]:
    """Devices cut out of one card with so many slots: each takes some of them."""
    cost = [{"counterSet": "card", "counters": {"slots": {"value": str(count)}}} for count in slots]
    made = [device(f"p{index}", consumesCounters=[one]) for index, one in enumerate(cost)]
    counters = [{"name": "card", "counters": {"slots": {"value": str(of)}}}]
    whole_card = slice_(name="counters", count=2)
    del whole_card["spec"]["devices"]
    whole_card["spec"]["sharedCounters"] = counters
    return [whole_card, slice_(*made, count=2)]


def test_partitions_take_from_common_counters() -> None:
    """Partitions of a card can be had as long as its counters suffice, whoever has the others."""
    slices = partitions(4, 2, 2, 1, of=4)
    assert picked(claim(request()), slices) == ["p0"]
    assert picked(claim(request(count=2)), slices) == ["p1", "p2"], "the whole card leaves nothing for a second"
    assert picked(claim(request(count=3)), slices) is None
    assert picked(claim(request()), slices, whole("p0")) is None
    assert picked(claim(request(count=2)), slices, whole("p1")) is None
    assert picked(claim(request("r", "any", "device.attributes['d.test'].index > 0")), slices, whole("p1")) == ["p2"]


def test_counters_that_nobody_offers() -> None:
    """A device whose counter set is not there cannot be had, and a partition on another node counts as well."""
    cost = [{"counterSet": "none", "counters": {"slots": {"value": "1"}}}]
    assert picked(claim(request()), [slice_(device("g0", consumesCounters=cost))]) is None
    counters, devices_ = partitions(3, 3, of=4)
    devices_["spec"]["perDeviceNodeSelection"] = True
    del devices_["spec"]["nodeName"]
    for one, node in zip(devices_["spec"]["devices"], ("n1", "n2"), strict=True):
        one["nodeName"] = node
    assert picked(claim(request()), [counters, devices_]) == ["p0"]
    assert picked(claim(request()), [counters, devices_], whole("p1")) is None


def shared(**policy: Any) -> Object:
    """A slice with a device of 10Gi that several claims may have."""
    made = device("g0", memory="10Gi", allowMultipleAllocations=True)
    if policy:
        made["capacity"]["memory"]["requestPolicy"] = policy
    return slice_(made)


def taking(amount: str | None, **more: Any) -> Object:
    """A claim for so much memory of one device."""
    wanted = {"capacity": {"requests": {"memory": amount}}} if amount else {}
    return claim(request(**wanted, **more))


@pytest.mark.parametrize(
    ("policy", "asked", "consumed"),
    [
        ({}, "3Gi", "3Gi"),
        ({}, None, "10Gi"),
        ({}, "11Gi", None),
        ({"default": "1Gi"}, None, "1Gi"),
        ({"default": "1Gi", "validValues": ["1Gi", "4Gi"]}, "2Gi", "4Gi"),
        ({"default": "1Gi", "validValues": ["1Gi", "4Gi"]}, "5Gi", None),
        ({"default": "1Gi", "validRange": {"min": "2Gi", "step": "3Gi", "max": "8Gi"}}, "1Gi", "2Gi"),
        ({"default": "1Gi", "validRange": {"min": "2Gi", "step": "3Gi", "max": "8Gi"}}, "6Gi", "8Gi"),
        ({"default": "1Gi", "validRange": {"min": "2Gi", "max": "8Gi"}}, "9Gi", None),
    ],
)
def test_policies_round_what_is_asked_for(policy: Object, asked: str | None, consumed: str | None) -> None:
    """Up to a valid value or whole steps; more than there is or may be had does not fit."""
    found = devices.allocate(taking(asked), CLASSES, Inventory().on([shared(**policy)], NODE), Taken(), NODE)
    result = found["devices"]["results"][0] if found else {}
    assert result.get("consumedCapacity", {}).get("memory") == consumed
    assert bool(result.get("shareID")) is (consumed is not None)


def test_a_device_is_shared_until_its_capacity_is_consumed() -> None:
    """Several claims have one device; each has its share with a name of its own, and together they never exceed it."""
    stock, taken = Inventory().on([shared()], NODE), Taken()
    names = set()
    for number in range(3):
        wanted = taking("3Gi")
        wanted["metadata"]["uid"] = f"u{number}"
        found = devices.allocate(wanted, CLASSES, stock, taken, NODE)
        assert found is not None
        names.add(found["devices"]["results"][0]["shareID"])
        count(taken, [{"status": {"allocation": found}}])
    assert len(names) == 3
    assert devices.allocate(taking("3Gi"), CLASSES, stock, taken, NODE) is None
    assert devices.allocate(taking("1Gi"), CLASSES, stock, taken, NODE) is not None
    assert picked(taking("4Gi", count=2), [shared()]) == ["g0", "g0"], "also one claim may have two shares"
    assert picked(taking("6Gi", count=2), [shared()]) is None


def test_capacity_filters_devices_that_are_not_shared() -> None:
    """A request's capacity is the least that a device must have; a capacity that it has not at all does not suit."""
    slices = [slice_(device("g0"), device("g1", memory="4Gi"))]
    assert picked(taking("2Gi"), slices) == ["g1"]
    assert picked(claim(request(capacity={"requests": {"cores": "1"}})), slices) is None


def test_selectors_see_whether_a_device_is_shared() -> None:
    """allowMultipleAllocations is a variable of its own."""
    assert picked(claim(request("r", "any", "device.allowMultipleAllocations")), [shared()]) == ["g0"]
    assert picked(claim(request("r", "any", "device.allowMultipleAllocations")), [slice_(device("g0"))]) is None
