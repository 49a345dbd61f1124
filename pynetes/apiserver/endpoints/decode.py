"""From a body to an object in the scope's version: kind checked, unknown fields dealt with, defaults filled in."""

from pynetes.apiserver import encoding
from pynetes.apiserver.api import Scope
from pynetes.apiserver.endpoints.options import WriteOptions
from pynetes.apiserver.http import Request
from pynetes.machinery import errors
from pynetes.machinery.meta import Object


def body(request: Request, scope: Scope, options: WriteOptions) -> Object:
    """The body as a normalised and defaulted object. Raises StatusError 400, 413, 415."""
    obj = encoding.load(request)
    check_kind(obj, scope.resource.kind, scope.api_version)
    settle(obj, scope, options, request.warnings)
    return obj


def check_kind(obj: Object, kind: str, api_version: str) -> None:
    """apiVersion and kind must be those of the path; absent ones are filled in, as upstream does."""
    given_kind, given_version = obj.get("kind") or kind, obj.get("apiVersion") or api_version
    if given_version != api_version:
        text = f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        raise errors.bad_request(text)
    if given_kind != kind:
        version = api_version.rpartition("/")[2]
        detail = f"converting (v1.{given_kind}) to ({kind}): unknown conversion"
        raise errors.bad_request(f'{given_kind} in version "{version}" cannot be handled as a {kind}: {detail}')
    obj["kind"], obj["apiVersion"] = given_kind, given_version


def settle(obj: Object, scope: Scope, options: WriteOptions, warnings: list[str]) -> None:
    """Normalise and default in place; unknown fields are refused, warned of or dropped as the client asked."""
    if not isinstance(obj.get("metadata") or {}, dict):
        raise errors.bad_request("metadata must be an object")
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    unknown = scope.decode(obj)
    if unknown:
        report(unknown, scope, options, warnings)
    scope.default(obj)


def report(unknown: list[str], scope: Scope, options: WriteOptions, warnings: list[str]) -> None:
    """What fieldValidation says about unknown fields."""
    texts = [f'unknown field "{path}"' for path in unknown]
    if options.validation == "Strict":
        kind = scope.resource.kind
        detail = f"strict decoding error: {', '.join(texts)}"
        raise errors.bad_request(f'{kind} in version "{scope.version}" cannot be handled as a {kind}: {detail}')
    if options.validation == "Warn":
        warnings.extend(texts)
