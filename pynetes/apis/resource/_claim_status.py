"""The status of a claim: what is allocated to it, for whom, and how its devices are."""

import ipaddress
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from pynetes.apis.core import _affinity_validation
from pynetes.apis.resource import _slices, _validation
from pynetes.machinery import field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.schema import gotext, types

Errors = Iterator[field.Error]

_CONSUMERS, _RESULTS, _CONFIGS, _CONDITIONS, _ADDRESSES = 256, 32, 64, 8, 16
_INTERFACE, _HARDWARE = 256, 128
_SOURCES = ("FromClaim", "FromClass")
_UID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_INTERFACE_ADDRESS = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"


def device_id(device: Object) -> str:
    """A device, or the share of one, as upstream writes it."""
    parts = [device.get(name) or "" for name in ("driver", "pool", "device")]
    return "/".join([*parts, *([device["shareID"]] if device.get("shareID") else [])])


def allocated(status: Object) -> set[str]:
    """The devices that a claim has."""
    results = ((status.get("allocation") or {}).get("devices") or {}).get("results") or ()
    return {device_id(result) for result in results}


def prepare(new: Object, old: Object | None) -> None:
    """Only the status changes; of devices that are taken away nothing is told any more."""
    if old is None:
        return
    new["spec"] = old["spec"]
    status = new.get("status") or {}
    gone = allocated(old.get("status") or {}) - allocated(status)
    if gone and status.get("devices"):
        status["devices"] = [device for device in status["devices"] if device_id(device) not in gone]
        if not status["devices"]:
            del status["devices"]


def validate(new: Object, old: Object | None) -> Errors:
    """Mistakes of a status."""
    status, before = new.get("status") or {}, (old or {}).get("status") or {}
    consumers, allocation = status.get("reservedFor") or [], status.get("allocation")
    yield from _validation.each(consumers, "status.reservedFor", _CONSUMERS, _consumer, "uid")
    known = allocated(status)
    for index, device in enumerate(status.get("devices") or ()):
        yield from _device(device, f"status.devices[{index}]", known)
    ids = [device_id(device) for device in status.get("devices") or ()]
    for index, text in enumerate(ids):
        if text in ids[:index]:
            yield field.Error("FieldValueDuplicate", f"status.devices[{index}]", f"Duplicate value: {text}")
    if consumers and allocation is None:
        yield field.forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
    elif new["metadata"].get("deletionTimestamp"):
        former = before.get("reservedFor") or ()
        if any(consumer not in former for consumer in consumers):
            detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
            yield field.forbidden("status.reservedFor", detail)
    if allocation is None:
        return
    if before.get("allocation") is not None:
        if allocation != before["allocation"]:
            printed = gotext.shown(types.named("api.resource.v1.AllocationResult"), allocation)
            yield field.invalid("status.allocation", printed, "field is immutable")
    else:
        names = _validation.request_names(new.get("spec") or {})
        yield from _allocation(allocation, "status.allocation", names)


def _consumer(consumer: Object, path: str) -> Errors:
    for name in ("resource", "name", "uid"):
        if not consumer.get(name):
            yield field.required(f"{path}.{name}")


def _allocation(allocation: Object, path: str, known: set[str]) -> Errors:
    devices = allocation.get("devices") or {}
    results, configs = devices.get("results") or (), devices.get("config") or ()
    yield from _validation.each(results, f"{path}.devices.results", _RESULTS, partial(_result, known=known))
    yield from _validation.each(configs, f"{path}.devices.config", _CONFIGS, partial(_config, known=known))
    if allocation.get("nodeSelector") is not None:
        yield from _affinity_validation.node_selector(allocation["nodeSelector"], f"{path}.nodeSelector")


def _result(result: Object, path: str, known: set[str]) -> Errors:
    yield from _validation.reference(result.get("request") or "", f"{path}.request", known)
    yield from _identity(result, path)
    yield from _slices.binding_conditions(result, path)
    for index, toleration in enumerate(result.get("tolerations") or ()):
        yield from _validation.tolerated(toleration, f"{path}.tolerations[{index}]")
    yield from _share(result, path)


def _identity(device: Object, path: str) -> Errors:
    yield from validation.csi_driver_name(device.get("driver") or "", f"{path}.driver")
    yield from _slices.pool_name(device.get("pool") or "", f"{path}.pool")
    yield from _validation.label(device.get("device") or "", f"{path}.device")


def _share(device: Object, path: str) -> Errors:
    share = device.get("shareID")
    if share is None or _UID.fullmatch(share):
        return
    if not _UID.fullmatch(share.lower()):
        detail = f"error validating uid: invalid UUID length: {len(share)}"
        detail = detail if len(share) not in (32, 36, 38, 45) else "error validating uid: invalid UUID format"
    else:
        detail = (
            "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal"
            " characters"
        )
    yield field.invalid(f"{path}.shareID", share, detail)


def _config(config: Object, path: str, known: set[str]) -> Errors:
    yield from validation.one_of(config.get("source"), f"{path}.source", _SOURCES)
    yield from _validation.references(config, path, known)
    yield from _validation.configuration(config, path)


def _device(device: Object, path: str, known: set[str]) -> Errors:
    yield from _identity(device, path)
    yield from _share(device, path)
    if (text := device_id(device)) not in known:
        detail = f"Invalid value: {text}: must be an allocated device in the claim"
        yield field.Error("FieldValueInvalid", path, detail)
    conditions = device.get("conditions") or ()
    if len(conditions) > _CONDITIONS:
        yield field.too_many(f"{path}.conditions", len(conditions), _CONDITIONS)
    yield from validation.conditions(conditions, f"{path}.conditions")
    if device.get("data") is not None:
        yield from _validation.raw(device["data"], f"{path}.data")
    if device.get("networkData") is not None:
        yield from _network(device["networkData"], f"{path}.networkData")


def _network(data: Object, path: str) -> Errors:
    for name, limit in (("interfaceName", _INTERFACE), ("hardwareAddress", _HARDWARE)):
        if len((data.get(name) or "").encode()) > limit:
            yield field.too_long(f"{path}.{name}", limit)
    yield from _validation.each(data.get("ips") or (), f"{path}.ips", _ADDRESSES, _address, "")


def _address(text: Any, path: str) -> Errors:
    try:
        canonical = str(ipaddress.ip_interface(text)) if "/" in text else ""
    except ValueError:
        canonical = ""
    if not canonical:
        yield field.invalid(path, text, _INTERFACE_ADDRESS)
    elif canonical != text:
        yield field.invalid(path, text, f'must be in canonical form ("{canonical}")')
