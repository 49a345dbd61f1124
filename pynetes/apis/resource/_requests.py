"""Defaults of device requests, in claims and in their templates."""

from pynetes.machinery.meta import Object


def default_claim_spec(spec: Object | None) -> None:
    """A request is for one device unless told otherwise."""
    devices = (spec or {}).get("devices") or {}
    for request in devices.get("requests") or ():
        if request.get("exactly") is not None:
            _default_request(request["exactly"])
        for alternative in request.get("firstAvailable") or ():
            _default_request(alternative)


def _default_request(request: Object) -> None:
    if request.setdefault("allocationMode", "ExactCount") == "ExactCount" and not request.get("count"):
        request["count"] = 1
    for toleration in request.get("tolerations") or ():
        toleration.setdefault("operator", "Equal")
