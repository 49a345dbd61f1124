"""Subresources and reviews whose work is a handler of the registry: binding, eviction, token, finalize, approval, …"""

from typing import Any

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.admission.attributes import Attributes
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.endpoints import ownership, patch
from pynetes.apiserver.endpoints.options import write_options
from pynetes.apiserver.http import Request, Response
from pynetes.apiserver.registry.call import Answer, Call, Handler
from pynetes.apiserver.registry.table import HANDLERS
from pynetes.component import tracing
from pynetes.machinery.meta import Object


def find(scope: Scope, verb: str) -> Handler | None:
    """The registry's handler; a patch is an update of what get answers."""
    verb = "update" if verb == "patch" else verb
    return HANDLERS.get((scope.resource.group, scope.resource.plural, scope.subresource, verb))


async def handle(api: Api, request: Request, scope: Scope, handler: Handler) -> Response:
    """Decode, let the handler work, answer."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    verb = request.info.verb
    options = write_options(request, "UpdateOptions" if verb in ("update", "patch") else "CreateOptions")
    body: Object = {}
    if verb == "patch":
        body = await _patched(api, request, scope)
    elif verb in ("create", "update"):
        body = encoding.load(request)
    answer = await handler(api.context, _call(api, request, scope, verb, body, dry_run=options.dry_run))
    shown = _shown(scope, answer)
    if accepted.as_.startswith("Partial") and answer.body.get("kind") != "Status":
        shown = rendering.partial({"metadata": {}, **shown}, f"meta.k8s.io/{accepted.version}")
    response = rendering.plain(request, accepted, shown, answer.code)
    response.revision = answer.revision or tracing.revision(answer.body.get("metadata") or {})
    return response


def _shown(scope: Scope, answer: Answer) -> Object:
    if answer.body.get("kind") == scope.resource.kind and answer.body.get("metadata") is not None:
        return scope.shown(answer.body)
    return answer.body


def _call(api: Api, request: Request, scope: Scope, verb: str, body: Object, *, dry_run: bool) -> Call:
    assert request.user is not None
    options: dict[str, Any] = {name: values[0] for name, values in request.query.items()}

    async def admit(attributes: Attributes) -> None:
        await api.chain.admit(attributes)
        await api.chain.validate(attributes)

    return Call(
        user=request.user,
        verb="update" if verb == "patch" else verb,
        resource=scope.resource,
        subresource=scope.subresource,
        key=scope.key,
        body=body,
        dry_run=dry_run,
        options=options,
        admit=admit,
        warnings=request.warnings,
        manager=(request.query.get("fieldManager") or [""])[0] or ownership.default_manager(request),
    )


async def _patched(api: Api, request: Request, scope: Scope) -> Object:
    """What the subresource looks like with the patch applied."""
    media = patch.supported(request, scope)
    getter = HANDLERS.get((scope.resource.group, scope.resource.plural, scope.subresource, "get"))
    if getter is not None:
        now = (await getter(api.context, _call(api, request, scope, "get", {}, dry_run=False))).body
    else:
        stored = (await api.store(scope.resource).read(scope.key)).copy()
        await api.prepare(scope, [stored])
        now = scope.shown(stored)
    return patch.changed(scope, now, patch.parse(request.body, media).document, media)
