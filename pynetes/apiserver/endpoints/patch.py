"""PATCH: JSON Patch, merge patch, strategic merge patch, and server-side apply, by Content-Type.

The patch is applied to the newest object, again whenever somebody else was faster, so a patch conflicts only when it
carries a resourceVersion itself. Apply creates what does not exist.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pynetes.apiserver import encoding, reading
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.endpoints import create, decode, objectmeta, ownership, patched
from pynetes.apiserver.endpoints.options import WriteOptions, write_options
from pynetes.apiserver.endpoints.update import Update, Wish, finish
from pynetes.apiserver.http import Request, Response
from pynetes.machinery import errors, fieldset, patch, schema
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
#: Members that tell what an object is.
_IDENTITY = frozenset({"kind", "apiVersion", "metadata"})
#: Upstream's limit of operations in a JSON Patch.
OPERATIONS = 10000


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """Change the object as the body says."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    media = supported(request, scope)
    options = write_options(request, "PatchOptions", apply=media == APPLY)
    if request.oversized:
        raise errors.failure(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    if media == APPLY:
        return await _apply(api, request, scope, options, accepted)
    manager = options.manager or ownership.default_manager(request)
    update = Update(api, request, scope, options, manager, wish_of(request, scope, media, options))
    return await finish(update, accepted)


def supported(request: Request, scope: Scope) -> str:
    """The patch's media type. Raises StatusError 415."""
    media = encoding.media_type(request)
    known = [JSON_PATCH, MERGE, APPLY]
    if scope.resource.schema is None:
        known.insert(2, STRATEGIC)
    if media == STRATEGIC and media not in known:
        # Custom resources have no merge keys, and clients look for this answer to fall back to a merge patch.
        text = f"the body of the request was in an unknown format - accepted media types include: {', '.join(known)}"
        raise errors.failure(415, "UnsupportedMediaType", text)
    if media not in known:
        error = errors.failure(415, "UnsupportedMediaType", "415: Unsupported Media Type")
        error.status["details"] = {}
        raise error
    return media


def wish_of(request: Request, scope: Scope, media: str, options: WriteOptions) -> Wish:
    """The change function of a patch. Raises StatusError 400 when the body is no patch."""
    strict = options.validation != "Ignore"
    found = parse(request.body, media, strict=strict)
    members = _members(scope, found.document, media)

    async def wish(old: Object) -> Object:
        part = old if members is None else {name: old[name] for name in members if name in old}
        new = changed(scope, encoding.copied(part), found.document, media)
        try:
            patched.check_kind(new, scope)
            decode.settle(new, scope, options, request.warnings, found.strict)
        except StatusError as error:
            # Decoding has changed what came out, and with it the parts that are the patch's: both are made anew.
            document = parse(request.body, media, strict=strict).document
            new = changed(scope, encoding.copied(old), document, media)
            document = parse(request.body, media, strict=strict).document
            raise patched.refused(error, old, document, new, scope=scope, media=media) from None
        objectmeta.check_identity(scope.resource, new, namespace=scope.namespace, name=scope.name)
        return new if members is None else _joined(old, new, members)

    return wish


def _members(scope: Scope, document: Any, media: str) -> frozenset[str] | None:
    """What a patch of a status may change of the object, whose other members a write of a status keeps as they are, and
    need be neither copied nor decoded: nodes patch the statuses of large pods all day. None: all of it."""
    if scope.subresource != "status" or not scope.built_in or media == JSON_PATCH:
        return None
    # Directives may be about members that they do not name.
    return None if any(name.startswith("$") for name in document) else _IDENTITY.union(document)


def _joined(old: Object, part: Object, members: frozenset[str]) -> Object:
    """The old object with these of its members as they are in the part."""
    new = {name: value for name, value in old.items() if name not in members or name in part}
    return new | {name: value for name, value in part.items() if name in members}


def parse(body: bytes, media: str, *, strict: bool = True) -> patched.Parsed:
    """The patch document. Raises StatusError 400, 413."""
    found = patched.parse(body, json_patch=media == JSON_PATCH, strategic=media == STRATEGIC, strict=strict)
    if media == JSON_PATCH and len(found.document) > OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {OPERATIONS}, got {len(found.document)}"
        raise errors.failure(413, "RequestEntityTooLarge", text)
    return found


def changed(scope: Scope, old: Object, document: Any, media: str) -> Object:
    """The object with the patch applied. Raises StatusError 422 when it does not fit."""
    try:
        if media == JSON_PATCH:
            return patch.json_patch(old, document)
        if media == MERGE:
            merged: Object = patch.merge_patch(old, document)
            return merged
        return patch.strategic_merge(old, document, schema.of(scope.resource, scope.version).type)
    except patch.PatchError as error:
        if media == JSON_PATCH or error.code == 422:
            rejected = errors.failure(422, "Invalid", "the server rejected our request due to an error in our request")
            rejected.status["details"] = {}
            raise rejected from None
        if error.code == 400:
            raise errors.bad_request(str(error)) from None
        # Upstream has no better word than an internal error for a strategic patch that does not fit.
        raise errors.failure(500, "", str(error)) from None


def configuration(request: Request, scope: Scope, options: WriteOptions) -> Callable[[Object | None, datetime], Object]:
    """What an applied configuration makes of an object (None: of what is not there yet), and who owns what then.

    Raises StatusError 400 and 422 when it is none, 500 (upstream's) for fields that the schema does not know.
    """
    twice: list[str] | None = None if options.validation == "Ignore" else []
    try:
        applied = reading.yaml_object(request.body, twice)
    except reading.Unreadable as error:
        raise errors.bad_request(f"error decoding YAML: error converting YAML to JSON: {error}") from None
    _check_applied(applied, scope)
    # Checked on a copy: ownership is read from what the client wrote, not from what normalising makes of it.
    _check_declared(encoding.copied(applied), scope)

    def merged(old: Object | None, now: datetime) -> Object:
        had = None if old is None else encoding.copied(old)
        new = ownership.applied(scope, had, applied, options=options, now=now)
        # Conflicts are told before keys that come twice.
        for text in twice or ():
            if options.validation == "Strict":
                raise errors.bad_request(f"error strict decoding YAML: error converting YAML to JSON: {text}")
            request.warnings.extend(reading.each_warning(text))
        scope.decode(new)
        scope.default(new)
        objectmeta.check_identity(scope.resource, new, namespace=scope.namespace, name=scope.name)
        return new

    return merged


async def _apply(
    api: Api, request: Request, scope: Scope, options: WriteOptions, accepted: encoding.Accepted
) -> Response:
    merged = configuration(request, scope, options)

    async def wish(old: Object | None) -> Object:
        return merged(old, api.clock.now())

    update = Update(api, request, scope, options, options.manager, wish, owned=True)
    try:
        return await finish(update, accepted)
    except StatusError as error:
        if error.code != 404 or (error.status.get("details") or {}).get("name") != scope.name or scope.subresource:
            raise
    fresh = await wish(None)
    if uid := fresh["metadata"].get("uid"):
        detail = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise errors.conflict(scope.resource.plural, scope.resource.group, scope.name, detail)
    return await create.create(
        api, request, scope, fresh, options, manager=options.manager, accepted=accepted, applied=True, unasked=True
    )


def _check_applied(applied: Object, scope: Scope) -> None:
    """An applied configuration says in full what it is. Raises StatusError 400."""
    api_version, kind = applied.get("apiVersion") or "", applied.get("kind") or ""
    if not api_version or kind != scope.resource.kind:
        group_version = api_version if "/" in api_version else f"/{api_version}"
        raise errors.bad_request(f"invalid object type: {group_version}, Kind={kind}")
    if api_version != scope.api_version:
        text = (
            f"the API version in the data ({api_version}) does not match the expected API version ({scope.api_version})"
        )
        raise errors.bad_request(text)
    metadata = applied.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        text = f"the name of the object ({scope.name} based on URL) was undeterminable: name must be provided"
        raise errors.bad_request(text)


def _check_declared(copy: Object, scope: Scope) -> None:
    """Fields that the schema does not know cannot be owned. Raises StatusError, upstream's 500 for built-in kinds."""
    metadata = dict(copy.get("metadata") or {})
    named, version = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}", copy.get("apiVersion", "")
    objectmeta.check_identity(scope.resource, copy, namespace=scope.namespace, name=scope.name)
    if scope.built_in:
        # Values of built-in kinds have been refused by their decoder.
        wrong = [f".{path}: field not declared in schema" for path in scope.decode(copy)]
    else:
        rest = {name: value for name, value in copy.items() if name not in ("kind", "apiVersion", "metadata")}
        wrong = list(fieldset.misfits(schema.of(scope.resource, scope.version).type, rest))
        wrong += [
            f".{path}: field not declared in schema" for path in scope.decode(copy) if path.startswith("metadata.")
        ]
    if wrong:
        about = f"{named}; {version if '/' in version else '/' + version}, Kind={scope.resource.kind}"
        listed = wrong[0] if len(wrong) == 1 else "errors:" + "".join(f"\n  {text}" for text in wrong)
        raise errors.failure(500, "", f"failed to create typed patch object ({about}): {listed}")
