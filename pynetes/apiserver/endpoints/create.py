"""POST: decode, mutate, complete, validate, store.

The order is upstream's, because each step sees what the one before has made of the object: defaults, mutating
admission, ownership of fields, what the server sets, the registry's allocations, validation, validating admission.
"""

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.admission.attributes import CREATE
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.endpoints import decode, objectmeta, ownership, validation
from pynetes.apiserver.endpoints.options import WriteOptions, write_options
from pynetes.apiserver.filters.authorization import require
from pynetes.apiserver.http import Request, Response
from pynetes.apiserver.registry.table import STRATEGIES
from pynetes.machinery import errors, schema
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.decode import DROP, zero_of

#: How often a generated name is tried again when it is taken.
ATTEMPTS = 8


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """Create the object in the body; 201 with what was stored."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    options = write_options(request, "CreateOptions")
    obj = decode.body(request, scope, options)
    objectmeta.check_identity(scope.resource, obj, namespace=scope.namespace, name="")
    objectmeta.single_owners(obj, request.warnings, admitted=False)
    if objectmeta.is_version(obj["metadata"].get("resourceVersion")):
        raise errors.failure(500, "", "resourceVersion should not be set on objects to be created")
    manager = options.manager or ownership.default_manager(request)
    for attempt in range(ATTEMPTS):
        mine = obj if attempt == ATTEMPTS - 1 or obj["metadata"].get("name") else encoding.copied(obj)
        try:
            return await create(api, request, scope, mine, options, manager=manager, accepted=accepted)
        except errors.StatusError as error:
            if obj["metadata"].get("name") or error.reason != "AlreadyExists" or attempt == ATTEMPTS - 1:
                raise
    raise AssertionError


async def create(
    api: Api,
    request: Request,
    scope: Scope,
    obj: Object,
    options: WriteOptions,
    *,
    manager: str,
    accepted: encoding.Accepted,
    applied: bool = False,
    unasked: bool = False,
) -> Response:
    """Everything behind decoding; also for an update or apply of what does not exist yet. unasked: nobody has asked yet
    whether the user may create."""
    attributes = api.attributes(request, scope, CREATE, dry_run=options.dry_run)
    attributes.obj, attributes.options = obj, options.described("CreateOptions")
    attributes.name = obj["metadata"].get("name") or ""
    if not applied:
        # Before admission: what policies fill in belongs to nobody.
        ownership.on_create(scope, obj, manager=manager, now=api.clock.now())
    if scope.resource.terminating:
        text = "create not allowed while custom resource definition is terminating"
        raise errors.forbidden(scope.resource.plural, scope.resource.group, attributes.name, text)
    await api.chain.admit(attributes)
    obj = attributes.obj
    objectmeta.single_owners(obj, request.warnings, admitted=True)
    # What admission added has no defaults yet.
    scope.default(obj)
    _complete(api, scope, obj)
    attributes.name = obj["metadata"]["name"]
    strategy = STRATEGIES.get((scope.resource.group, scope.resource.plural))
    allocation = await strategy.before(api.context, attributes) if strategy is not None else None
    try:
        validation.on_create(scope, obj)
        if scope.resource.warnings is not None:
            request.warnings.extend(scope.resource.warnings(obj, None))
        if unasked:
            await require(api.context.authorizer, request, "create")
        await api.chain.validate(attributes)
        if options.dry_run:
            await _pretend(api, scope, obj)
            if allocation is not None:
                await allocation.done()
            return rendering.obj(api, request, scope, accepted, obj, 201)
        await api.prepare(scope, [obj], to=scope.resource.storage_api_version)
        ttl = int(api.config.event_ttl) if scope.resource.plural == "events" else 0
        entry = await api.store(scope.resource).create(scope.stored(obj), ttl=ttl)
    except BaseException:
        if allocation is not None:
            await allocation.release()
        raise
    if allocation is not None:
        await allocation.done()
    if strategy is not None:
        await strategy.after(api.context, attributes)
    if scope.resource.conversion is not None:
        await api.prepare(scope, [entry.obj])
    return rendering.one(api, request, scope, accepted, entry, 201)


async def _pretend(api: Api, scope: Scope, obj: Object) -> None:
    """A dry run still finds the name taken."""
    await api.cacher.fresh()
    name = obj["metadata"]["name"]
    if api.cache(scope.resource).entry(scope.key._replace(name=name)) is not None:
        raise errors.already_exists(scope.resource.plural, scope.resource.group, name)


def _complete(api: Api, scope: Scope, obj: Object) -> None:
    """What the server sets on every new object, then on one of this kind."""
    resource, metadata = scope.resource, obj["metadata"]
    objectmeta.begin(obj, api.clock.now())
    if resource.generation:
        metadata["generation"] = 1
    if not metadata.get("name"):
        prefix = metadata.get("generateName")
        if not prefix:
            validation.on_create(scope, obj)
        metadata["name"] = objectmeta.generated_name(prefix or "")
    if "status" in resource.subresources and not resource.created_with_status:
        reset_status(scope, obj)
    if resource.prepare is not None:
        resource.prepare(obj, None)
    if resource.stamp is not None:
        resource.stamp(obj, None, metadata["creationTimestamp"])


def reset_status(scope: Scope, obj: Object) -> None:
    """A resource whose status is a subresource begins with an empty one."""
    obj.pop("status", None)
    if scope.resource.schema is None:
        status = schema.of(scope.resource, scope.version).type.fields.get("status")
        if status is not None and (empty := zero_of(status)) is not DROP:
            obj["status"] = empty
