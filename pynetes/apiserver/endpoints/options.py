"""Query parameters of reads and writes: ListOptions and the dryRun, fieldManager, fieldValidation of the others."""

import base64
import posixpath
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from pynetes.apiserver.api import Scope
from pynetes.apiserver.endpoints import objectmeta
from pynetes.apiserver.http import Request
from pynetes.machinery import errors, field, fields, go_json, labels
from pynetes.machinery.resource import Resource
from pynetes.storage.watch import Filter

_INTEGER = re.compile("[+-]?[0-9]+", re.ASCII).fullmatch
#: More characters than an integer of 64 bits has, leading zeros aside.
_LONGEST = 40
_URL_SAFE = frozenset(string.ascii_letters + string.digits + "-_")


class Token(NamedTuple):
    """Where a paged list goes on: at `start` (a key below the resource's prefix), as things were at `revision`."""

    revision: int
    start: str

    def encode(self) -> str:
        """As clients carry it: upstream's form, so that either server can go on with the other's."""
        document = {"v": "meta.k8s.io/v1", "rv": self.revision, "start": self.start}
        return base64.urlsafe_b64encode(orjson.dumps(document)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> "Token":
        """Read it back. Raises StatusError 400."""
        try:
            return cls._decoded(text)
        except (ValueError, TypeError, AttributeError) as error:
            raise errors.bad_request(f"invalid continue token: continue key is not valid: {error}") from None

    @classmethod
    def _decoded(cls, text: str) -> "Token":
        bad = next((place for place, char in enumerate(text) if char not in _URL_SAFE), len(text) - 1)
        if bad < len(text) - 1 or len(text) % 4 == 1 or text[-1:] not in _URL_SAFE:
            raise ValueError(f"illegal base64 data at input byte {bad}")
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if problem := go_json.problem(data):
            raise ValueError(problem)
        document = orjson.loads(data)
        if not isinstance(document, dict):
            kind = go_json.kind_of(document)
            raise ValueError(f"json: cannot unmarshal {kind} into Go value of type storage.continueToken")
        version = document.get("v", "")
        if version != "meta.k8s.io/v1":
            raise ValueError(f"server does not recognize this encoded version {version}")
        if not document.get("rv"):
            raise ValueError(f"incorrect encoded start resourceVersion (version {version})")
        if not document.get("start"):
            raise ValueError(f"encoded start key empty (version {version})")
        start = str(document["start"])
        key = start if start.startswith("/") else f"/{start}"
        if posixpath.normpath(key) != key:
            raise ValueError(start)
        return cls(int(document["rv"]), start)


@dataclass(slots=True)
class ListOptions:
    """What a list or watch asks for."""

    wanted: Filter
    selective: bool
    limit: int
    token: Token | None
    #: None: everything acknowledged shows. 0: any. Otherwise at least this, or exactly.
    revision: int | None
    exact: bool
    bookmarks: bool
    initial: bool | None
    timeout: int | None


def list_revision(request: Request, *, one: bool = False) -> int | None:
    """resourceVersion of a read; None when not given. Raises StatusError 400, or 500 for the read of one object, where
    upstream takes the mistake for its own."""
    text = request.param("resourceVersion")
    if not text:
        return None
    digits = text.isascii() and text.isdigit()
    if not digits or int(text[:21]) >= 1 << 64:
        what = "value out of range" if digits else "invalid syntax"
        problem = field.invalid("resourceVersion", text, f'strconv.ParseUint: parsing "{text}": {what}')
        if one:
            raise errors.failure(500, "", str(problem))
        raise errors.bad_request(f"invalid resource version: {problem}")
    return int(text)


def invalid_options(problems: list[field.Error]) -> errors.StatusError:
    """422 about ListOptions."""
    return errors.invalid("ListOptions", "meta.k8s.io", "", problems)


def parse(request: Request, scope: Scope, *, watch: bool = False) -> ListOptions:
    """Read and check the query of a list or watch. Raises StatusError."""
    query = request.query
    if not query:
        return ListOptions(_filter(scope, None, None, ()), False, 0, None, None, False, False, None, None)
    # The order is upstream's: what it cannot read, what does not go together, what the kind does not have.
    timeout = integer(request, "timeoutSeconds")
    limit = max(integer(request, "limit") or 0, 0)
    label, selected = _selectors(request)
    initial = request.flag("sendInitialEvents") if "sendInitialEvents" in query else None
    problems = list(_problems(request, watch=watch, initial=initial))
    if problems:
        raise invalid_options(problems)
    if selected is not None:
        _check_fields(selected, scope.resource)
        if scope.name and not selected.everything and selected.exact("metadata.name") != scope.name:
            raise errors.bad_request("fieldSelector metadata.name doesn't match requested name")
    token = Token.decode(text) if (text := request.param("continue")) and not watch else None
    if token is not None and request.param("resourceVersion") not in ("", "0"):
        raise errors.bad_request("specifying resource version is not allowed when using continue")
    revision = list_revision(request)
    match = request.param("resourceVersionMatch")
    exact = match == "Exact" or (not match and bool(limit) and bool(revision))
    wanted = _filter(scope, label, selected, exact_terms(selected))
    selective = label is not None or selected is not None
    bookmarks = request.flag("allowWatchBookmarks")
    return ListOptions(wanted, selective, limit, token, revision, exact, bookmarks, initial, timeout)


def _problems(request: Request, *, watch: bool, initial: bool | None) -> Iterator[field.Error]:
    """What upstream's ValidateListOptions forbids."""
    match, revision = request.param("resourceVersionMatch"), request.param("resourceVersion")
    if watch:
        if initial is not None and match != "NotOlderThan":
            yield field.forbidden(
                "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
        if match and initial is None:
            yield field.forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        if match and match != "NotOlderThan":
            yield field.not_supported("resourceVersionMatch", match, ["NotOlderThan"])
        # A watch from nowhere counts as one that asks for NotOlderThan.
        if request.param("continue") and (match or (initial is None and revision in ("", "0"))):
            yield field.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        return
    if match:
        if not revision:
            yield field.forbidden(
                "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
            )
        if request.param("continue"):
            yield field.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        if match not in ("Exact", "NotOlderThan"):
            yield field.not_supported("resourceVersionMatch", match, ["Exact", "NotOlderThan", ""])
        if match == "Exact" and revision == "0":
            yield field.forbidden(
                "resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            )
    if initial is not None:
        yield field.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")


def _selectors(request: Request) -> tuple[labels.Selector | None, fields.Selector | None]:
    """The two selectors, None where there is none. Raises StatusError 400."""
    try:
        label = labels.parse(text) if (text := request.param("labelSelector")) else None
        return label, fields.parse(text) if (text := request.param("fieldSelector")) else None
    except ValueError as error:
        raise errors.bad_request(str(error)) from None


def _check_fields(selected: fields.Selector, resource: Resource) -> None:
    try:
        selected.check(resource.fields or {})
    except ValueError as error:
        shown = str(error)
        if resource.qualified == "resourceslices.resource.k8s.io":
            # The one kind that says whose field it is.
            about = f"for {resource.api_version}, Kind={resource.kind}"
            shown = shown.replace("field label not supported:", f"field label not supported {about}:")
        raise errors.bad_request(shown) from None


def exact_terms(selected: fields.Selector | None) -> tuple[tuple[str, str], ...]:
    """The fields that must have one value: what indexes can use."""
    if selected is None:
        return ()
    return tuple(
        (term.path, term.value) for term in selected.terms if term.equal and not term.path.startswith("metadata.")
    )


def _filter(
    scope: Scope, label: labels.Selector | None, selected: fields.Selector | None, exact: tuple[tuple[str, str], ...]
) -> Filter:
    name = (selected.exact("metadata.name") or "") if selected is not None else ""
    return Filter(
        namespace=scope.namespace if scope.resource.namespaced else "",
        name=scope.name or name,
        labels=label if label is not None and not label.everything else None,
        fields=selected if selected is not None and not selected.everything else None,
        exact=exact,
    )


def integer(request: Request, name: str) -> int | None:
    """An integer parameter. Raises StatusError 400 when it is none."""
    if name not in request.query:
        return None
    text = request.param(name)
    if _INTEGER(text) is None:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(text) > _LONGEST or not -(1 << 63) <= (value := int(text)) < 1 << 63:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


@dataclass(slots=True)
class WriteOptions:
    """CreateOptions, UpdateOptions and PatchOptions as they come in the query."""

    dry_run: bool
    manager: str
    validation: str
    force: bool

    def described(self, kind: str) -> dict[str, Any]:
        """As admission shows them."""
        found: dict[str, Any] = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        if self.dry_run:
            found["dryRun"] = ["All"]
        if self.manager:
            found["fieldManager"] = self.manager
        if self.validation:
            found["fieldValidation"] = self.validation
        return found


_NO_OPTIONS = WriteOptions(dry_run=False, manager="", validation="Warn", force=False)


def write_options(request: Request, kind: str, *, apply: bool = False) -> WriteOptions:
    """Read and check; kind is CreateOptions, UpdateOptions or PatchOptions, the latter with or without apply. Raises
    StatusError 400 or 422."""
    if not request.query_string and not apply:
        return _NO_OPTIONS
    dry = request.query.get("dryRun", [])
    validation = request.param("fieldValidation")
    manager = request.param("fieldManager")
    problems = []
    if apply and not manager:
        problems.append(field.required("fieldManager", "is required for apply patch"))
    if kind == "PatchOptions" and not apply and "force" in request.query:
        problems.append(field.forbidden("force", "may not be specified for non-apply patch"))
    problems += objectmeta.manager_problems(manager, "fieldManager")
    if set(dry) - {"All"}:
        problems.append(field.not_supported("dryRun", dry, ["All"]))
    if validation not in ("", "Ignore", "Warn", "Strict"):
        problems.append(field.not_supported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]))
    if problems:
        raise errors.invalid(kind, "meta.k8s.io", "", problems)
    return WriteOptions(bool(dry), manager, validation or "Warn", request.flag("force"))
