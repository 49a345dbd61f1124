"""PUT, and what PATCH shares with it: the newest object in, the changed one out, again on a conflict.

A write to the status subresource takes status (and metadata) from the client and the rest from the store; any other
write the other way round.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.admission.attributes import DELETE, UPDATE, Attributes
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.authn.user import LOOPBACK, User
from pynetes.apiserver.encoding import Accepted
from pynetes.apiserver.endpoints import create, decode, objectmeta, ownership, validation
from pynetes.apiserver.endpoints.options import WriteOptions, write_options
from pynetes.apiserver.http import JSON, Request, Response
from pynetes.apiserver.registry.call import Allocation, Strategy
from pynetes.apiserver.registry.parts import PARTS, Part
from pynetes.apiserver.registry.table import STRATEGIES
from pynetes.machinery import errors, field, time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.machinery.resource import Resource
from pynetes.storage.entry import Entry

#: Kinds whose PUT creates an absent object, as upstream's AllowCreateOnUpdate.
CREATE_ON_UPDATE = frozenset(
    {
        ("", "endpoints"),
        ("", "events"),
        ("", "limitranges"),
        ("", "services"),
        ("node.k8s.io", "runtimeclasses"),
        ("coordination.k8s.io", "leases"),
        ("events.k8s.io", "events"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
    }
)
#: Kinds whose PUT needs a resourceVersion, as upstream's AllowUnconditionalUpdate.
CONDITIONAL = frozenset(
    {
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("apiregistration.k8s.io", "apiservices"),
        ("coordination.k8s.io", "leases"),
        ("node.k8s.io", "runtimeclasses"),
        ("policy", "poddisruptionbudgets"),
        ("storage.k8s.io", "csidrivers"),
        ("storage.k8s.io", "csinodes"),
        ("storage.k8s.io", "csistoragecapacities"),
        ("storage.k8s.io", "volumeattachments"),
    }
)

#: From the stored object, in the scope's version, to the one the client wants, which shares nothing with it; may raise
#: StatusError.
Wish: TypeAlias = Callable[[Object], Awaitable[Object]]


@dataclass(slots=True)
class Update:
    """One write under way; `run` is Store.update's change function."""

    api: Api
    request: Request
    scope: Scope
    options: WriteOptions
    manager: str
    wish: Wish
    #: Whether ownership was settled by `wish` (server-side apply).
    owned: bool = False
    #: What managedFields say was written; the scale subresource writes through the whole object.
    subresource: str = ""
    allocation: Allocation | None = None
    _attributes: Attributes | None = None
    _warned: int = 0

    def __post_init__(self) -> None:
        self._warned = len(self.request.warnings)

    async def run(self, stored: Object) -> Object:
        """Compute the object to store. Called again when somebody else was faster."""
        scope = self.scope
        if self.allocation is not None:
            await self.allocation.release()
            self.allocation = None
        await self.api.prepare(scope, [stored])
        old = scope.shown(stored)
        # Those of an attempt that is repeated go, those from before it stay.
        del self.request.warnings[self._warned :]
        new = await self.wish(old)
        check_preconditions(scope, new, old)
        objectmeta.carry_over(new, old)
        self._prepare(new, old)
        if not self.owned:
            # Before admission: what policies fill in belongs to nobody.
            now = self.api.clock.now()
            ownership.on_update(scope, new, old, manager=self.manager, now=now, subresource=self.subresource)
        new = await self._admitted(new, old)
        objectmeta.single_owners(new, self.request.warnings, admitted=True)
        self._bump_generation(new, old)
        await self._validate(new, old)
        await self._allocate()
        await self.api.prepare(scope, [new], to=scope.resource.storage_api_version)
        stored = scope.stored(new)
        if is_finished(scope.resource, stored) and not self.options.dry_run:
            raise Finished(stored)
        return stored

    async def _admitted(self, new: Object, old: Object) -> Object:
        attributes = self.api.attributes(self.request, self.scope, UPDATE, dry_run=self.options.dry_run)
        attributes.obj, attributes.old = new, old
        attributes.subresource = self.subresource or attributes.subresource
        attributes.options = self.options.described("UpdateOptions")
        self._attributes = attributes
        await self.api.chain.admit(attributes)
        assert attributes.obj is not None
        return attributes.obj

    def _prepare(self, new: Object, old: Object) -> None:
        resource = self.scope.resource
        if self.scope.subresource == "status":
            keep_all_but_status(resource, new, old)
            if resource.prepare_status is not None:
                resource.prepare_status(new, old)
        elif part := self._part():
            part.graft(new, old, time.rfc3339(self.api.clock.now()))
            return
        else:
            if "status" in resource.subresources:
                keep(new, old, "status")
            if resource.prepare is not None:
                resource.prepare(new, old)
        if resource.stamp is not None:
            resource.stamp(new, old, time.rfc3339(self.api.clock.now()))

    def _part(self) -> Part | None:
        resource = self.scope.resource
        return PARTS.get((resource.group, resource.plural, self.scope.subresource))

    def _bump_generation(self, new: Object, old: Object) -> None:
        if self.scope.subresource == "status" or not self.scope.resource.generation:
            return
        changed = spec_of(new) != spec_of(old)
        if self.scope.resource.schema is not None and "status" not in self.scope.resource.subresources:
            # Without the subresource, status is content like any other.
            changed = changed or new.get("status") != old.get("status")
        if self.scope.resource.plural == "deployments":
            # Upstream counts annotations of a Deployment too, because rollbacks once were asked for in them.
            changed = changed or new["metadata"].get("annotations") != old["metadata"].get("annotations")
        if changed:
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1

    async def _allocate(self) -> None:
        strategy = self._strategy()
        if strategy is not None:
            assert self._attributes is not None
            self.allocation = await strategy.before(self.api.context, self._attributes)

    def _strategy(self) -> Strategy | None:
        resource = self.scope.resource
        return None if self.scope.subresource else STRATEGIES.get((resource.group, resource.plural))

    async def _validate(self, new: Object, old: Object) -> None:
        scope = self.scope
        if scope.subresource == "status":
            validation.on_status(scope, new, old, self.request.warnings)
        elif part := self._part():
            validation.on_part(scope, new, old, part.problems)
        else:
            validation.on_update(scope, new, old, self.request.warnings)
        if scope.resource.warnings is not None and not scope.subresource:
            self.request.warnings.extend(scope.resource.warnings(new, old))
        assert self._attributes is not None
        self._attributes.obj = new
        await self.api.chain.validate(self._attributes)

    async def store(self) -> Entry | Object:
        """Carry it out; the object itself is answered when it is gone with this update."""
        store = self.api.store(self.scope.resource)
        try:
            entry = await store.update(self.scope.key, self.run)
        except Finished as finished:
            if self.allocation is not None:
                await self.allocation.release()
            return await self._finish(finished.obj)
        except BaseException:
            if self.allocation is not None:
                await self.allocation.release()
            raise
        if self.allocation is not None:
            await self.allocation.done()
        strategy = self._strategy()
        if strategy is not None and self._attributes is not None:
            await strategy.after(self.api.context, self._attributes)
        return entry

    async def _finish(self, obj: Object) -> Object:
        """The update took away the last thing that the object's deletion waited for."""
        resource, key = self.scope.resource, self.scope.key
        await self.api.store(resource).delete(key)
        await after_delete(self.api, resource, obj)
        return obj

    async def dry_run(self) -> Object:
        """Everything but storing."""
        stored = await self.api.store(self.scope.resource).read(self.scope.key)
        shown = await self.run(stored.copy())
        if self.allocation is not None:
            await self.allocation.done()
        return shown


class Finished(Exception):
    """An update leaves a deleted object with nothing more to wait for: it is removed instead of stored."""

    def __init__(self, obj: Object) -> None:
        super().__init__("the object's deletion is complete")
        self.obj = obj


def is_finished(resource: Resource, obj: Object) -> bool:
    """Whether a deleted object waits for nothing any more."""
    metadata = obj["metadata"]
    if (
        not metadata.get("deletionTimestamp")
        or metadata.get("finalizers")
        or metadata.get("deletionGracePeriodSeconds")
    ):
        return False
    return not (resource.plural == "namespaces" and (obj.get("spec") or {}).get("finalizers"))


async def complete_deletion(api: Api, resource: Resource, key: Key, obj: Object) -> None:
    """An update that takes away the last thing a deleted object waits for removes it."""
    if not is_finished(resource, obj):
        return
    try:
        await api.store(resource).delete(key)
    except StatusError as error:
        if error.code != 404:
            raise
    await after_delete(api, resource, obj)


async def after_delete(api: Api, resource: Resource, obj: Object, user: User = LOOPBACK) -> None:
    """Let the registry release what the object held."""
    strategy = STRATEGIES.get((resource.group, resource.plural))
    if strategy is not None:
        key = key_of(obj)
        await strategy.after(
            api.context,
            Attributes(user=user, operation=DELETE, resource=resource, namespace=key.namespace, name=key.name, old=obj),
        )


def keep(new: Object, old: Object, member: str) -> None:
    """The client does not decide over this member."""
    if member in old:
        new[member] = old[member]
    else:
        new.pop(member, None)


def keep_all_but_status(resource: Resource, new: Object, old: Object) -> None:
    """A status write changes status and metadata, but of the latter not what upstream's strategies hold back."""
    metadata = new["metadata"]
    if resource.schema is not None or resource.plural in ownership.STATUS_ALONE:
        metadata = {**old["metadata"]} | {n: metadata[n] for n in ("managedFields", "resourceVersion") if n in metadata}
    elif resource.plural == "deployments":
        keep(metadata, old["metadata"], "labels")
    elif resource.plural == "pods":
        keep(metadata, old["metadata"], "ownerReferences")
    status = new.get("status")
    new.clear()
    new.update(old)
    new["metadata"] = metadata
    if status is not None:
        new["status"] = status
    else:
        new.pop("status", None)


def spec_of(obj: Object) -> Object:
    """What generation counts: all but metadata and status."""
    return {name: value for name, value in obj.items() if name not in ("metadata", "status", "kind", "apiVersion")}


def check_preconditions(scope: Scope, new: Object, old: Object) -> None:
    """resourceVersion and uid, where the client gives them, must be the stored object's. Raises StatusError 409."""
    resource = scope.resource
    _check_uid(scope, new, old["metadata"].get("uid") or "")
    version = new["metadata"].get("resourceVersion")
    objectmeta.check_version(version)
    if version == "0":
        version = ""
    if version and version != old["metadata"]["resourceVersion"]:
        raise errors.conflict(resource.plural, resource.group, scope.name)
    if not version and ((resource.group, resource.plural) in CONDITIONAL or resource.schema is not None):
        problem = field.invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise errors.invalid(resource.plural, resource.group, scope.name, [problem])


def _check_uid(scope: Scope, new: Object, stored: str) -> None:
    resource, uid = scope.resource, new["metadata"].get("uid")
    if uid and uid != stored:
        place = f"Code: 4, Key: {resource.storage_key(scope.key)}, ResourceVersion: 0, AdditionalErrorMsg: "
        found = f"UID in precondition: {uid}, UID in object meta: {stored}"
        detail = f"StorageError: invalid object, {place}Precondition failed: {found}"
        raise errors.conflict(resource.plural, resource.group, scope.name, detail)


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """Replace the object; 201 where the kind allows a PUT to create."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    options = write_options(request, "UpdateOptions")
    obj = decode.body(request, scope, options)
    objectmeta.check_identity(scope.resource, obj, namespace=scope.namespace, name=scope.name)
    objectmeta.single_owners(obj, request.warnings, admitted=False)
    manager = options.manager or ownership.default_manager(request)

    sent = encoding.dump(obj, JSON)
    unused = [obj]

    async def wish(_: Object) -> Object:
        return unused.pop() if unused else encoding.load_json(sent)

    update = Update(api, request, scope, options, manager, wish)
    try:
        return await finish(update, accepted)
    except StatusError as error:
        missing = error.code == 404 and error.status.get("details", {}).get("name") == scope.name
        if not missing or scope.subresource or (scope.resource.group, scope.resource.plural) not in CREATE_ON_UPDATE:
            raise
    obj = encoding.load_json(sent)
    # Upstream's storage looks at the UID and not at the version of what is not there.
    _check_uid(scope, obj, "")
    objectmeta.check_version(obj["metadata"].pop("resourceVersion", ""))
    return await create.create(api, request, scope, obj, options, manager=manager, accepted=accepted, unasked=True)


async def finish(update: Update, accepted: Accepted) -> Response:
    """Store, or only pretend to, and answer."""
    api, request, scope = update.api, update.request, update.scope
    found = await update.dry_run() if update.options.dry_run else await update.store()
    if scope.resource.conversion is not None:
        await api.prepare(scope, [found if isinstance(found, dict) else found.obj])
    if isinstance(found, dict):
        return rendering.obj(api, request, scope, accepted, found)
    return rendering.one(api, request, scope, accepted, found)
