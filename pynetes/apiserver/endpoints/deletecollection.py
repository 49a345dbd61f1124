"""DELETE of a collection: each object that the selectors choose, by the rules of a single DELETE."""

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.endpoints import list as listing
from pynetes.apiserver.endpoints.delete import Deletion, parse
from pynetes.apiserver.endpoints.options import parse as parse_list
from pynetes.apiserver.http import Request, Response
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """Answer with the list of what was deleted, as it was before, as upstream does."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    listed = parse_list(request, scope)
    options = parse(request)
    entries, metadata = await listing.read(api, scope, listed)
    deleted: list[Object] = []
    for entry in entries:
        one = Scope(scope.resource, scope.version, "", entry.key.namespace, entry.key.name)
        try:
            await Deletion(api, request, one, options).run()
        except StatusError as error:
            if error.code != 404:
                raise
            continue
        if scope.resource.conversion is not None:
            await api.prepare(scope, [entry.obj])
        deleted.append(scope.shown(entry.copy()))
    # Upstream finds out when it has deleted.
    listing.check_shape(accepted, scope)
    if accepted.as_:
        return rendering.plain(request, accepted, rendering.transform(api, request, scope, accepted, deleted, metadata))
    return rendering.plain(request, accepted, rendering.list_of(scope, deleted, metadata))
