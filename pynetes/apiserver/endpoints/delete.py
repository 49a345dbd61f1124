"""DELETE: at once, or marked with a deletionTimestamp while a grace period, finalizers or dependents hold it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.admission.attributes import DELETE
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.endpoints.options import integer
from pynetes.apiserver.endpoints.update import after_delete
from pynetes.apiserver.http import Request, Response
from pynetes.apiserver.reading import Unreadable
from pynetes.machinery import errors, field, schema, time
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.inspect import WrongType, inspect
from pynetes.storage.entry import Entry

_ORPHAN, _FOREGROUND = "orphan", "foregroundDeletion"
POLICIES = {"Orphan": _ORPHAN, "Foreground": _FOREGROUND, "Background": ""}
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_ORPHANED_PODS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them"
    " or set propagationPolicy=Orphan to suppress this warning"
)
#: Kinds whose DELETE answers with the object instead of a Status, as upstream's ReturnDeletedObject.
RETURNED = frozenset(
    {
        "pods",
        "podtemplates",
        "serviceaccounts",
        "resourcequotas",
        "persistentvolumes",
        "persistentvolumeclaims",
        "services",
        "storageclasses",
        "csidrivers",
        "csinodes",
        "volumeattachments",
        "volumeattributesclasses",
        "deviceclasses",
        "resourceclaims",
        "resourceclaimtemplates",
        "resourceslices",
    }
)
_PENDING = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
#: Kinds whose deletion upstream has written a second time, since it goes in phases.
PHASED = ("namespaces", "customresourcedefinitions.apiextensions.k8s.io")


@dataclass(slots=True)
class DeleteOptions:
    """metav1.DeleteOptions, from the body or the query."""

    grace: int | None
    propagation: str
    uid: str
    version: str
    dry_run: bool
    raw: Object


#: Where upstream's errors say that options are registered.
_SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"


def parse(request: Request) -> DeleteOptions:
    """Read and check. Raises StatusError 400 or 422."""
    given: Object = {}
    if request.body:
        try:
            given = encoding.read(request)
        except Unreadable as error:
            # Upstream's own words for a body that should be an object do not come with options.
            raise errors.bad_request(str(error)) from None
        if given.get("kind") not in (None, "", "DeleteOptions"):
            about = f'no kind "{given["kind"]}" is registered for version "{given.get("apiVersion") or "v1"}"'
            raise errors.bad_request(f'{about} in scheme "{_SCHEME}"')
        _decode(given)
    elif request.query_string:
        given = _from_query(request)
    return checked(given)


def _decode(given: Object) -> None:
    """Drop in place what no DeleteOptions have. Raises StatusError 400 for a wrong type."""
    type_ = schema.of_kind("", "v1", "DeleteOptions")
    assert type_ is not None
    try:
        inspect(type_, given)
    except WrongType as error:
        raise errors.bad_request(str(error)) from None


def _from_query(request: Request) -> Object:
    given: Object = {}
    if (grace := integer(request, "gracePeriodSeconds")) is not None:
        given["gracePeriodSeconds"] = grace
    if text := request.param("propagationPolicy"):
        given["propagationPolicy"] = text
    if "orphanDependents" in request.query:
        given["orphanDependents"] = request.flag("orphanDependents")
    if "dryRun" in request.query:
        given["dryRun"] = request.query["dryRun"]
    return given


def checked(given: Object) -> DeleteOptions:
    """DeleteOptions from their object. Raises StatusError 422."""
    problems = []
    propagation = given.get("propagationPolicy") or ""
    orphan = given.get("orphanDependents")
    if propagation and orphan is not None:
        problems.append(
            field.invalid(
                "propagationPolicy", propagation, "orphanDependents and deletionPropagation cannot be both set"
            )
        )
    if propagation and propagation not in POLICIES:
        problems.append(
            field.not_supported("propagationPolicy", propagation, ["Foreground", "Background", "Orphan", "nil"])
        )
    dry = given.get("dryRun") or []
    if set(dry) - {"All"}:
        problems.append(field.not_supported("dryRun", dry, ["All"]))
    if problems:
        raise errors.invalid("DeleteOptions", "meta.k8s.io", "", problems)
    if orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    preconditions = given.get("preconditions") or {}
    return DeleteOptions(
        grace=given.get("gracePeriodSeconds"),
        propagation=propagation,
        uid=preconditions.get("uid") or "",
        version=preconditions.get("resourceVersion") or "",
        dry_run=bool(dry),
        raw=given,
    )


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """Delete one object."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    options = parse(request)
    if scope.resource.conversion is not None:
        # What cannot be shown in the request's version cannot be deleted through it.
        await api.prepare(scope, [(await api.store(scope.resource).read(scope.key)).copy()])
    deletion = Deletion(api, request, scope, options)
    obj, gone = await deletion.run()
    if gone and scope.resource.plural not in RETURNED:
        return rendering.plain(request, accepted, status_of(scope, obj))
    await api.prepare(scope, [obj])
    # Only the oldest way to ask for a cascade is told that it goes on.
    code = 202 if not gone and options.raw.get("orphanDependents") is False else 200
    return rendering.obj(api, request, scope, accepted, obj, code)


def status_of(scope: Scope, obj: Object) -> Object:
    """Success, and what was deleted."""
    details: dict[str, Any] = {"name": obj["metadata"]["name"]}
    if scope.resource.group:
        details["group"] = scope.resource.group
    details |= {"kind": scope.resource.plural, "uid": obj["metadata"].get("uid", "")}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


@dataclass(slots=True)
class Deletion:
    """One deletion under way."""

    api: Api
    request: Request | None
    scope: Scope
    options: DeleteOptions

    async def run(self) -> tuple[Object, bool]:
        """The object, and whether it is gone (else it is only marked)."""
        self._default_propagation()
        store = self.api.store(self.scope.resource)
        while True:
            entry = await store.read(self.scope.key)
            self._check(entry.obj)
            await self._admitted(entry)
            marked = self._marked(entry.copy())
            if self.options.dry_run:
                return (marked if marked is not None else entry.copy()), marked is None
            try:
                if marked is None:
                    if self.scope.resource.grace is not None and not _ended(entry.obj["metadata"]):
                        return await self._hurried(entry), True
                    return await self._remove(entry), True
                if marked == entry.obj:
                    return marked, False
                return await self._mark(entry, marked), False
            except errors.StatusError as error:
                if error.reason != "Conflict" or self.options.version:
                    raise

    async def _hurried(self, entry: Entry) -> Object:
        """A kind that winds down is seen to be at its end before it is seen to go, even if it need not wait.

        Whoever writes to it in between removes it, as an object at its end: then it has gone as it was asked to."""
        obj = entry.copy()
        self._stamp(obj, 0)
        last, store = await self._mark(entry, obj), self.api.store(self.scope.resource)
        while True:
            try:
                entry = await store.read(self.scope.key)
                if entry.obj["metadata"]["uid"] != last["metadata"]["uid"]:
                    return last
                return await self._remove(entry)
            except errors.StatusError as error:
                if error.reason == "NotFound":
                    return last
                if error.reason != "Conflict":
                    raise

    def _default_propagation(self) -> None:
        """Jobs orphan their pods unless told otherwise, for compatibility with clients older than propagation."""
        resource = self.scope.resource
        if (resource.group, resource.plural) != ("batch", "jobs") or self.options.propagation:
            return
        self.options.propagation = "Orphan"
        if self.request is not None and _ORPHANED_PODS not in self.request.warnings:
            self.request.warnings.append(_ORPHANED_PODS)

    async def _admitted(self, entry: Entry) -> None:
        if self.request is None:
            return
        attributes = self.api.attributes(self.request, self.scope, DELETE, dry_run=self.options.dry_run)
        attributes.old, attributes.options = entry.obj, self.options.raw
        await self.api.chain.admit(attributes)
        await self.api.chain.validate(attributes)

    def _check(self, obj: Object) -> None:
        """Preconditions. Raises StatusError 409."""
        resource, metadata = self.scope.resource, obj["metadata"]
        for wanted, name, shown, fate in (
            (self.options.uid, "uid", "UID", "deleted and then recreated"),
            (self.options.version, "resourceVersion", "ResourceVersion", "modified"),
        ):
            found = metadata.get(name)
            if wanted and wanted != found and resource.qualified in PHASED:
                detail = f"Precondition failed: {shown} in precondition: {wanted}, {shown} in object meta: {found}"
                raise errors.conflict(resource.plural, resource.group, self.scope.name, detail)
            if wanted and wanted != found:
                detail = (
                    f"the {shown} in the precondition ({wanted}) does not match the {shown} in record ({found})."
                    f" The object might have been {fate}"
                )
                raise errors.conflict(resource.kind, resource.group, self.scope.name, detail)

    def _marked(self, obj: Object) -> Object | None:
        """The object as it waits for its end; None if nothing holds it."""
        metadata = obj["metadata"]
        if self.scope.resource.qualified in PHASED:
            if not metadata.get("deletionTimestamp"):
                return self._begun(obj)
            if (obj.get("spec") or {}).get("finalizers"):
                return obj
        grace = self._grace(obj)
        finalizers = self._finalizers(metadata.get("finalizers") or [])
        if not finalizers and not grace:
            return None
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
        self._stamp(obj, grace)
        return obj

    def _begun(self, obj: Object) -> Object:
        """The object in the first phase of a deletion that goes in phases: marked, and nothing else counts yet."""
        metadata, now = obj["metadata"], time.rfc3339(self.api.clock.now())
        status = obj.setdefault("status", {})
        finalizers = list(metadata.get("finalizers") or ())
        if self.scope.resource.plural == "namespaces":
            status["phase"] = "Terminating"
            finalizers = self._finalizers(finalizers)
        else:
            # The definition outlives its objects, which are deleted before this finalizer goes.
            finalizers = finalizers if CLEANUP in finalizers else [*finalizers, CLEANUP]
            terminating(status, "InstanceDeletionPending", _PENDING, now)
        metadata["deletionTimestamp"] = now
        metadata |= {"finalizers": finalizers} if finalizers else {}
        return obj

    def _stamp(self, obj: Object, grace: int) -> None:
        metadata, now = obj["metadata"], self.api.clock.now()
        if metadata.get("deletionTimestamp"):
            before = metadata.get("deletionGracePeriodSeconds") or 0
            # A later deletion may shorten what is left of the grace period, never lengthen it.
            if grace < before:
                started = time.parse(metadata["deletionTimestamp"]) - timedelta(seconds=before)
                metadata["deletionTimestamp"] = time.rfc3339(
                    max(started, now - timedelta(seconds=grace)) + timedelta(seconds=grace)
                )
                metadata["deletionGracePeriodSeconds"] = grace
            return
        metadata["deletionTimestamp"] = time.rfc3339(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1

    def _grace(self, obj: Object) -> int:
        """Seconds until the object goes for good; only kinds with a grace hook have any."""
        hook = self.scope.resource.grace
        if hook is None:
            return 0
        default = hook(obj)
        if default == 0:
            # The kind says that this object has nothing to wind down: a pod that no node runs.
            return 0
        # A negative period means the shortest there is.
        wanted = default if self.options.grace is None else self.options.grace if self.options.grace >= 0 else 1
        before: int | None = obj["metadata"].get("deletionGracePeriodSeconds")
        if obj["metadata"].get("deletionTimestamp") and before is not None:
            return before if self.options.grace is None else min(wanted, before)
        return wanted

    def _finalizers(self, have: list[str]) -> list[str]:
        """What propagation adds and takes away."""
        policy = self.options.propagation
        if not policy:
            return have
        kept = [finalizer for finalizer in have if finalizer not in (_ORPHAN, _FOREGROUND)]
        added = POLICIES[policy]
        return [*kept, added] if added else kept

    async def _remove(self, entry: Entry) -> Object:
        revision = entry.revision

        async def unchanged(obj: Object) -> None:
            if obj["metadata"]["resourceVersion"] != str(revision):
                raise errors.conflict(self.scope.resource.plural, self.scope.resource.group, self.scope.name)

        removed = await self.api.store(self.scope.resource).delete(self.scope.key, unchanged)
        gone = removed.copy()
        await after_delete(self.api, self.scope.resource, gone)
        if self.scope.resource.grace is not None:
            self._stamp(gone, 0)
        return gone

    async def _mark(self, entry: Entry, marked: Object) -> Object:
        revision = entry.revision

        async def change(obj: Object) -> Object:
            if obj["metadata"]["resourceVersion"] != str(revision):
                raise errors.conflict(self.scope.resource.plural, self.scope.resource.group, self.scope.name)
            return marked

        stored = await self.api.store(self.scope.resource).update(self.scope.key, change)
        return stored.copy()


def _ended(metadata: Object) -> bool:
    return bool(metadata.get("deletionTimestamp")) and not metadata.get("deletionGracePeriodSeconds")


def terminating(status: Object, reason: str, message: str, now: str) -> None:
    """Put a definition's Terminating condition into its status."""
    condition = {
        "type": "Terminating",
        "status": "True",
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
    others = [each for each in status.get("conditions") or () if each.get("type") != "Terminating"]
    before = [each for each in status.get("conditions") or () if each.get("type") == "Terminating"]
    if before and before[0].get("status") == "True":
        condition["lastTransitionTime"] = before[0].get("lastTransitionTime", now)
    status["conditions"] = [*others, condition]
