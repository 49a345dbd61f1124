"""From a request that may go on to the verb that answers it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from pynetes import apis
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.deprecated import DEPRECATED
from pynetes.apiserver.discovery import sub
from pynetes.apiserver.endpoints import (
    componentstatuses,
    create,
    delete,
    deletecollection,
    get,
    patch,
    scale,
    subresource,
    update,
    watch,
)
from pynetes.apiserver.endpoints import list as listing
from pynetes.apiserver.http import Handler, Request, Response, text_response
from pynetes.apiserver.registry.parts import PARTS
from pynetes.apiserver.requestinfo import RequestInfo
from pynetes.machinery import errors

Verb: TypeAlias = Callable[[Api, Request, Scope], Awaitable[Response]]
#: Connections to nodes and pods: (plural, subresource) → handler.
Connect: TypeAlias = Mapping[tuple[str, str], Verb]

VERBS: Mapping[str, Verb] = {
    "get": get.handle,
    "list": listing.handle,
    "watch": watch.handle,
    "create": create.handle,
    "update": update.handle,
    "patch": patch.handle,
    "delete": delete.handle,
    "deletecollection": deletecollection.handle,
}
#: Subresources that are a view of the object itself.
VIEWS = ("status", *(name for _, _, name in PARTS))


def not_found() -> Response:
    """What upstream says to a path that nobody serves."""
    return text_response("404 page not found\n", 404)


def unknown() -> errors.StatusError:
    """404 for a resource or subresource that a known group does not have."""
    error = errors.failure(404, "NotFound", "the server could not find the requested resource")
    error.status["details"] = {}
    return error


def not_allowed() -> errors.StatusError:
    """405."""
    text = "the server does not allow this method on the requested resource"
    error = errors.failure(405, "MethodNotAllowed", text)
    error.status["details"] = {}
    return error


def build(api: Api, others: Handler, connect: Connect) -> Handler:
    """The innermost handler; `others` answers what is no resource request."""

    async def dispatch(request: Request) -> Response:
        info = request.info
        if not info.is_resource_request:
            return await others(request)
        resource = api.served.find(info.api_group, info.api_version, info.resource)
        # There is no cluster-scoped resource below a namespace: authorization has asked about that namespace, where
        # a Role may allow what only a ClusterRole may. A Namespace itself lies below its own name, and no other.
        misplaced = resource is not None and info.namespace and not resource.namespaced
        itself = info.resource == "namespaces" and info.named and info.name == info.namespace
        if resource is None or (misplaced and not itself):
            if info.api_group in apis.GROUPS:
                raise unknown()
            return not_found()
        if deprecated := resource.deprecated or DEPRECATED.get((info.api_group, info.resource)):
            request.warnings.append(deprecated)
        namespace = info.namespace if resource.namespaced else ""
        scope = Scope(resource, info.api_version, info.subresource, namespace, info.name if info.named else "")
        if info.subresource or not resource.stored:
            return await _special(api, request, scope, connect)
        verb = VERBS.get(info.verb) if request.method != "HEAD" else None
        if verb is None or info.verb not in resource.verbs or not _placed(info, scope):
            if resource.schema is not None:
                return _misplaced(request, scope)
            raise not_allowed()
        response = await verb(api, request, scope)
        if request.repeat is not None:
            request.repeat.sign(
                lasting=lambda: api.served.find(info.api_group, info.api_version, info.resource) is resource,
            )
        return response

    return dispatch


def _misplaced(request: Request, scope: Scope) -> Response:
    """The answer where a custom resource's verb and path do not fit: upstream finds a handler by the verb alone."""
    if scope.resource.namespaced and not scope.namespace:
        return not_found()
    if request.info.verb not in ("update", "patch"):
        raise not_allowed()
    if request.info.verb == "patch":
        patch.supported(request, scope)
    raise errors.bad_request("name must be provided")


def _placed(info: RequestInfo, scope: Scope) -> bool:
    """Whether verb and path fit: one creates in a collection, and in a namespace if the kind has any."""
    needs_namespace = scope.resource.namespaced and not scope.namespace
    if info.verb == "create":
        return (not info.named or not scope.built_in) and not needs_namespace
    if info.verb == "deletecollection" and not scope.built_in:
        return not needs_namespace
    if info.verb in ("update", "patch", "get", "delete"):
        return info.named and not needs_namespace
    return True


async def _special(api: Api, request: Request, scope: Scope, connect: Connect) -> Response:
    """Subresources, and reviews that are answered and not stored."""
    resource, verb = scope.resource, request.info.verb
    if scope.subresource and scope.subresource not in resource.subresources:
        if resource.schema is not None:
            raise scope.not_found()
        raise unknown()
    if resource.plural == "componentstatuses" and not resource.group:
        return await componentstatuses.handle(api, request, scope)
    handler = subresource.find(scope, verb)
    if handler is not None and request.method != "HEAD":
        return await subresource.handle(api, request, scope, handler)
    taken = connect.get((resource.plural, scope.subresource))
    if taken is not None:
        return await taken(api, request, scope)
    if request.method == "HEAD":
        raise not_allowed()
    if scope.subresource == "scale" and resource.scale is not None and verb in ("get", "update", "patch"):
        return await scale.handle(api, request, scope)
    if scope.subresource in VIEWS and verb in sub(resource, scope.subresource).verbs:
        return await VERBS[verb](api, request, scope)
    if resource.schema is not None:
        text = f'{verb} is not supported on resources of kind "{resource.qualified}"'
        raise errors.failure(405, "MethodNotAllowed", text, group=resource.group, kind=resource.plural)
    raise not_allowed()
