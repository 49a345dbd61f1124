"""autoscaling/v1 Scale of any resource whose record says where its replicas are."""

from dataclasses import replace
from typing import Any

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.endpoints import decode, get, ownership, patch, patched, scale_owners
from pynetes.apiserver.endpoints.options import WriteOptions, write_options
from pynetes.apiserver.endpoints.update import Update
from pynetes.apiserver.http import Request, Response
from pynetes.machinery import cells, errors, field, labels
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

#: What a Scale looks like as a table; it is stored nowhere and has no resource of its own.
SCALE = Resource(
    group="autoscaling",
    versions=("v1",),
    kind="Scale",
    plural="scales",
    stored=False,
    columns=(
        Column("Name", ".metadata.name"),
        Column("Desired", cells.path(".spec.replicas", 0), type="integer"),
        Column("Available", cells.path(".status.replicas", 0), type="integer"),
        Column.AGE,
    ),
)

#: The same of a custom resource: its cells are what the Scale has, and null for what it lacks.
_CUSTOM = (
    Column(
        "Desired", cells.declared(".spec.replicas", "integer"), type="integer", description="Number of desired replicas"
    ),
    Column(
        "Available",
        cells.declared(".status.replicas", "integer"),
        type="integer",
        description="Number of actual replicas",
    ),
    replace(Column.AGE, type="date"),
)


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """GET, PUT or PATCH of .../scale."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    if request.info.verb == "get":
        entry = await get.read(api, scope)
        await api.prepare(scope, [entry.copy()])
        shown = scope.shown(entry.copy())
        path = scope.resource.scale.spec_path if scope.resource.scale else ""
        if scope.resource.schema is not None and _at(shown, path) is None:
            raise errors.internal(f'the spec replicas field "{path}" does not exist')
        found = scale_of(scope, shown)
        if accepted.as_:
            table = SCALE if scope.built_in else replace(SCALE, columns=_CUSTOM, schema={})
            scale = Scope(table, "v1", "", scope.namespace, scope.name)
            found = rendering.transform(api, request, scale, accepted, [found], found["metadata"])
        return rendering.plain(request, accepted, found)
    return await _write(api, request, scope, accepted)


async def _write(api: Api, request: Request, scope: Scope, accepted: encoding.Accepted) -> Response:
    patching = request.info.verb == "patch"
    applies = patching and encoding.media_type(request) == patch.APPLY
    if patching:
        patch.supported(request, scope)
    options = write_options(request, "PatchOptions" if patching else "UpdateOptions", apply=applies)
    manager = options.manager or ownership.default_manager(request)
    whole = Scope(scope.resource, scope.version, "", scope.namespace, scope.name)
    path = scope.resource.scale.spec_path if scope.resource.scale else ""
    applied = None
    if applies:
        applied = patch.configuration(request, Scope(SCALE, "v1", "scale", scope.namespace, scope.name), options)

    async def wish(old: Object) -> Object:
        scale = scale_of(scope, old)
        if applied is None:
            wanted = _wanted(request, scope, scale, options)
        else:
            scale_owners.narrow(scale, old, path)
            wanted = applied(scale, api.clock.now())
        _check(scope, wanted)
        new: Object = encoding.copied(old)
        _set(new, path, wanted["spec"].get("replicas") or 0)
        for name in ("resourceVersion", "uid"):
            if wanted["metadata"].get(name):
                new["metadata"][name] = wanted["metadata"][name]
        if applied is not None:
            scale_owners.widen(new, wanted, path)
        return new

    owned = applied is not None
    update = Update(api, request, whole, options, manager, wish, owned=owned, subresource="scale")
    result = await update.dry_run() if options.dry_run else await update.store()
    stored = result if isinstance(result, dict) else result.copy()
    await api.prepare(whole, [stored])
    return rendering.plain(request, accepted, scale_of(scope, whole.shown(stored)))


def _wanted(request: Request, scope: Scope, now: Object, options: WriteOptions) -> Object:
    own, document = Scope(SCALE, "v1", "scale", scope.namespace, scope.name), None
    media = encoding.media_type(request)
    if request.info.verb == "patch":
        if media == patch.STRATEGIC:
            media = patch.MERGE
        document = patch.parse(request.body, media).document
        wanted = patch.changed(scope, encoding.copied(now), document, media)
    else:
        wanted = encoding.load(request)
    if wanted.get("kind", "Scale") != "Scale" or wanted.get("apiVersion", "autoscaling/v1") != "autoscaling/v1":
        raise errors.bad_request(_misfit(wanted.get("kind") or "", wanted.get("apiVersion") or ""))
    sent: Object = encoding.copied(wanted)
    try:
        decode.settle(wanted, own, options, request.warnings)
    except errors.StatusError as error:
        if document is None:
            raise
        raise patched.refused(error, now, document, sent, scope=own, media=media) from None
    metadata = wanted.setdefault("metadata", {})
    if not metadata.get("name"):
        text = f"the name of the object ({scope.name} based on URL) was undeterminable: name must be provided"
        raise errors.bad_request(text)
    if metadata["name"] != scope.name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({scope.name})"
        )
    wanted.setdefault("spec", {})
    return wanted


def _misfit(kind: str, api_version: str) -> str:
    version = api_version.rpartition("/")[2]
    reason = f"converting ({version}.{kind}) to (autoscaling.Scale): unknown conversion"
    return f'{kind} in version "{version}" cannot be handled as a Scale: {reason}'


def _check(scope: Scope, wanted: Object) -> None:
    replicas = wanted["spec"].get("replicas") or 0
    if replicas < 0:
        problem = field.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.invalid("Scale", "autoscaling", scope.name, [problem])


def scale_of(scope: Scope, obj: Object) -> Object:
    """The Scale of an object."""
    paths = scope.resource.scale
    assert paths is not None
    metadata = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec: Object = {}
    if replicas := _at(obj, paths.spec_path):
        spec["replicas"] = replicas
    status: Object = {"replicas": _at(obj, paths.status_path) or 0}
    if paths.selector_path and (selector := _at(obj, paths.selector_path)):
        status["selector"] = selector if isinstance(selector, str) else _selector_text(selector)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "spec": spec,
        "status": status,
    }


def _selector_text(selector: Object) -> str:
    if "matchLabels" in selector or "matchExpressions" in selector:
        return str(labels.from_label_selector(selector))
    return str(labels.from_labels(selector))


def _at(obj: Any, path: str) -> Any:
    for step in path.strip(".").split("."):
        obj = obj.get(step) if isinstance(obj, dict) else None
    return obj


def _set(obj: Object, path: str, value: int) -> None:
    *holders, last = path.strip(".").split(".")
    for step in holders:
        obj = obj.setdefault(step, {})
    obj[last] = value
