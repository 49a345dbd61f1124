"""From a body to an object in the scope's version: kind checked, unknown fields dealt with, defaults filled in."""

from collections.abc import Callable, Sequence

from pynetes import apis
from pynetes.apiserver import encoding, reading
from pynetes.apiserver.api import Scope
from pynetes.apiserver.endpoints.options import WriteOptions
from pynetes.apiserver.http import YAML, Request
from pynetes.machinery import errors, field, go_json, go_print
from pynetes.machinery.meta import Object
from pynetes.machinery.schema import definitions

#: Where upstream's errors say that kinds are registered.
_SCHEME = "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"


def body(request: Request, scope: Scope, options: WriteOptions) -> Object:
    """The body as a normalised and defaulted object. Raises StatusError 400, 413, 415."""
    twice: list[str] | None = None if options.validation == "Ignore" else []
    obj = encoding.load(request, scope.resource.kind, twice)
    check_kind(obj, scope, lambda: _quoted(request, obj))
    settle(obj, scope, options, request.warnings, twice or [])
    return obj


def _quoted(request: Request, obj: Object) -> str:
    """A body as errors quote it, which is as JSON."""
    if encoding.media_type(request) != YAML:
        return request.body.decode(errors="replace").strip()
    return go_print.json(obj)


def check_kind(obj: Object, scope: Scope, sent: Callable[[], str] | None = None) -> None:
    """apiVersion and kind must be those of the path; absent ones are filled in, as upstream does for built-in kinds.

    A custom resource must say both; which kind it is, is only looked at when it is validated. sent: what the client
    sent, to be quoted."""
    kind, api_version = scope.resource.kind, scope.api_version
    if not scope.built_in and sent is not None and not obj.get("kind"):
        raise _unfit(scope, kind, f"Object 'Kind' is missing in '{sent()}'")
    given_kind, given_version = obj.get("kind") or kind, obj.get("apiVersion") or api_version
    if not scope.built_in and sent is not None:
        given_version = obj.get("apiVersion") or ""
    for name, value in (("apiVersion", given_version), ("kind", given_kind)):
        if not isinstance(value, str):
            text = f"json: cannot unmarshal {go_json.kind_of(value)} into Go struct field .{name} of type string"
            raise errors.bad_request(f"couldn't get version/kind; json parse error: {text}")
    if (
        scope.built_in
        and (given_kind != kind or given_version != api_version)
        and not _known(given_version, given_kind)
    ):
        raise _unfit(
            scope,
            given_kind,
            f'no kind "{given_kind}" is registered for version "{given_version}" in scheme "{_SCHEME}"',
        )
    if given_version != api_version:
        text = f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        raise errors.bad_request(text)
    if scope.built_in and given_kind != kind:
        package = apis.GROUPS.get(scope.resource.group, scope.resource.group).rpartition(".")[2]
        raise _unfit(
            scope, given_kind, f"converting ({scope.version}.{given_kind}) to ({package}.{kind}): unknown conversion"
        )
    obj["kind"], obj["apiVersion"] = given_kind, given_version


def check_custom_kind(obj: Object, scope: Scope) -> None:
    """Upstream reads a custom resource whatever it says it is, and finds it invalid. Raises StatusError 422."""
    kind, api_version = obj["kind"], obj["apiVersion"]
    found = [field.invalid("kind", kind, f"must be {scope.resource.kind}")] if kind != scope.resource.kind else []
    if api_version != scope.api_version:
        found.append(field.invalid("apiVersion", api_version, f"must be {scope.api_version}"))
    if found:
        metadata = obj.get("metadata")
        name = str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
        raise errors.invalid(kind, api_version.rpartition("/")[0], name, found)


def _known(api_version: str, kind: str) -> bool:
    """Whether upstream's scheme has the kind, if only in a version that is not served any more."""
    group, _, version = api_version.rpartition("/")
    if (group, version, kind) in definitions.kinds():
        return True
    older = group in apis.GROUPS and ("alpha" in version or "beta" in version)
    return older and any(known == kind and at == group for at, _, known in definitions.kinds())


def _unfit(scope: Scope, given: str, detail: str) -> errors.StatusError:
    kind = scope.resource.kind
    return errors.bad_request(f'{given} in version "{scope.version}" cannot be handled as a {kind}: {detail}')


def settle(obj: Object, scope: Scope, options: WriteOptions, warnings: list[str], twice: Sequence[str] = ()) -> None:
    """Normalise and default in place; unknown fields and keys given twice are refused, warned of or dropped as the
    client asked."""
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    unknown = scope.decode(obj)
    if unknown or twice:
        report([*twice, *(f'unknown field "{path}"' for path in unknown)], scope, options, warnings)
    scope.default(obj)


def report(texts: list[str], scope: Scope, options: WriteOptions, warnings: list[str]) -> None:
    """What fieldValidation says about fields that are unknown or given twice."""
    if options.validation == "Strict":
        raise _unfit(scope, scope.resource.kind, f"strict decoding error: {', '.join(texts)}")
    if options.validation == "Warn":
        warnings.extend(warning for text in texts for warning in reading.each_warning(text))
