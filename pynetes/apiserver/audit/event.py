"""audit.k8s.io/v1 Events, built from a request and what became of it."""

from datetime import datetime
from typing import Any

import orjson

from pynetes.apiserver import encoding
from pynetes.apiserver.audit.policy import Level, Wanted
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.http import JSON, Pieces, Request, Response
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

#: Headers in which proxies say for whom they ask, nearest last.
FORWARDED = "x-forwarded-for"
#: Refused before anybody has looked at the body; whoever may do nothing shall not fill the log with it.
UNREAD = (403, 413, 429)
#: What of an event comes from bodies, and the annotation that stands in their place.
BODIES = ("requestObject", "responseObject")
UNWRITABLE = "audit.pynetes.io/omitted"
#: Longest user agent that is written.
AGENT = 1024


class Draft:
    """What is known of one request's event; every stage writes a copy."""

    def __init__(self, request: Request, wanted: Wanted, at: datetime) -> None:
        self.wanted = wanted
        self._managed = not wanted.omit_managed_fields
        query = f"?{request.query_string}" if request.query_string else ""
        self.event: Object = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": wanted.level.name,
            "auditID": request.audit_id,
            "stage": "",
            "requestURI": request.path + query,
            "verb": request.info.verb,
            "user": request.user.info() if request.user is not None else {},
            "sourceIPs": _sources(request),
            "userAgent": request.headers.get("user-agent", "")[:AGENT],
            "requestReceivedTimestamp": time.micro(at),
        }
        if request.info.is_resource_request:
            self.event["objectRef"] = _reference(request)

    def at_stage(self, stage: str, at: datetime) -> bytes:
        """One line, whatever was sent: nobody hides a deed behind a body that can be read and not written."""
        event = self.event | {"stage": stage, "stageTimestamp": time.micro(at)}
        try:
            return orjson.dumps(event)
        except orjson.JSONEncodeError as error:
            # Nested too deep, or a number beyond 64 bits.
            bodies = [name for name in BODIES if event.pop(name, None) is not None]
            told = {UNWRITABLE: f"{', '.join(bodies)} cannot be written: {error}"}
            return orjson.dumps(event | {"annotations": (event.get("annotations") or {}) | told})

    def impersonated(self, user: User) -> None:
        """The request went on as this user."""
        self.event["impersonatedUser"] = user.info()

    def decided(self, request: Request) -> None:
        """What filters and policies have to say, and the body of a request that they let pass."""
        if request.annotations:
            self.event["annotations"] = request.annotations
        if not request.body or self.event.get("responseStatus", {}).get("code") in UNREAD:
            return
        if self.wanted.level >= Level.Request:
            self.event["requestObject"] = self._body(request)
        elif request.info.verb == "create" and not request.info.name:
            self._complete(_parsed(request))

    def answered(self, response: Response) -> None:
        """A response that the endpoint gave."""
        self.event["responseStatus"] = {"metadata": {}, "code": response.status}
        if self.wanted.level < Level.RequestResponse or response.content_type != JSON:
            return
        if any(name.lower() == "content-encoding" for name, _ in response.headers):
            return
        if isinstance(response.body, Pieces):
            # Pieces can be read once.
            response.body = b"".join(response.body.pieces)
        if isinstance(response.body, bytes) and response.body:
            self.event["responseObject"] = self._without_managed(_json(response.body))

    def failed(self, error: StatusError) -> None:
        """The request was refused."""
        status = {name: value for name, value in error.status.items() if name not in ("kind", "apiVersion")}
        self.event["responseStatus"] = {"metadata": {}, **status}
        if self.wanted.level >= Level.RequestResponse:
            self.event["responseObject"] = error.status

    def status(self, code: int, message: str = "") -> None:
        """Only a code."""
        self.event["responseStatus"] = {"metadata": {}, "code": code}
        if message:
            self.event["responseStatus"] |= {"status": "Failure", "message": message}

    def _body(self, request: Request) -> Any:
        if request.method == "PATCH":
            # A patch is no object: a JSON patch is a list, an apply configuration YAML.
            return _json(request.body)
        body = _parsed(request)
        self._complete(body)
        return self._without_managed(body)

    def _complete(self, body: Any) -> None:
        metadata = body.get("metadata") if isinstance(body, dict) else None
        reference = self.event.get("objectRef")
        if isinstance(metadata, dict) and reference is not None and self.event["verb"] == "create":
            for field in ("name", "namespace", "uid", "resourceVersion"):
                if not reference.get(field) and isinstance(metadata.get(field), str) and metadata[field]:
                    reference[field] = metadata[field]

    def _without_managed(self, body: Any) -> Any:
        if self._managed or not isinstance(body, dict):
            return body
        for one in (body, *(body.get("items") or ())):
            if isinstance(one, dict) and isinstance(one.get("metadata"), dict):
                one["metadata"].pop("managedFields", None)
        return body


def _reference(request: Request) -> Object:
    info = request.info
    found = {
        "resource": info.resource,
        "namespace": info.namespace,
        "name": info.name,
        "apiGroup": info.api_group,
        "apiVersion": info.api_version,
        "subresource": info.subresource,
    }
    return {name: value for name, value in found.items() if value}


def _sources(request: Request) -> list[str]:
    told = [part.strip() for value in request.headers.every(FORWARDED) for part in value.split(",") if part.strip()]
    if request.remote and (not told or told[-1] != request.remote):
        told.append(request.remote)
    return told


def _parsed(request: Request) -> Any:
    try:
        return encoding.load(request)
    except StatusError:
        # Whatever was sent is no object; the response says so.
        return None


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
