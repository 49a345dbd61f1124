"""Content negotiation: which representation a client accepts, and what it sent.

application/json                                        the object
application/yaml                                        the same as YAML
application/vnd.kubernetes.protobuf                     the same for built-in kinds, which client-go asks for
application/json;as=Table;v=v1;g=meta.k8s.io            rows and columns (kubectl get)
application/json;as=PartialObjectMetadata…              metadata only (metadata informers)
"""

from functools import lru_cache
from typing import Any, NamedTuple

import orjson
import yaml

from pynetes.apiserver import reading
from pynetes.apiserver.http import JSON, YAML, Request
from pynetes.machinery import errors, protobuf_encoder
from pynetes.machinery.meta import Object
from pynetes.machinery.wire import Malformed

PROTOBUF = "application/vnd.kubernetes.protobuf"
LISTED = f"application/json, application/yaml, {PROTOBUF}"
#: Clients for people, whom upstream answers with indented JSON.
_PEOPLE = ("curl", "Wget", "Mozilla/5.0")
_META = "meta.k8s.io"
TRANSFORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_SafeDumper):  # type: ignore[misc]
    """Writes what stands at two places twice, as JSON does."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether to do so: always."""
        return True


class Accepted(NamedTuple):
    """The media type to answer in; as_ is "", Table, PartialObjectMetadata or PartialObjectMetadataList."""

    media: str = JSON
    as_: str = ""
    version: str = ""

    @property
    def plain(self) -> bool:
        """Whether bytes as stored are right."""
        return self.media == JSON and not self.as_


PLAIN = Accepted()


#: In upstream's order, which is what wildcards are tried in.
_SERVED = (JSON, YAML, PROTOBUF)
#: What upstream's routes look for in the header before anything else does: no other wildcard will do.
_ROUTED = frozenset((*_SERVED, "*/*"))


class _Clause(NamedTuple):
    """One media range of an Accept header."""

    type_: str
    subtype: str
    quality: float
    parameters: dict[str, str]

    def before(self, other: "_Clause") -> bool:
        """Upstream's order, which is none in the strict sense: what has no star comes first, whatever its quality."""
        return (
            self.quality > other.quality
            or (self.type_ != "*" and other.type_ == "*")
            or (self.subtype != "*" and other.subtype == "*")
        )

    def takes(self, media: str) -> bool:
        """Whether the media type is in the range."""
        type_, _, subtype = media.partition("/")
        return (
            self.type_ in ("*", type_) and self.subtype in ("*", subtype) and (self.type_ != "*" or self.subtype == "*")
        )


@lru_cache(maxsize=256)
def parse(header: str, transforms: bool = True, protobuf: bool = False) -> Accepted | None:
    """The best of an Accept header that can be served; None when nothing can. Metadata alone has a protobuf form
    for every kind; whole objects only where the caller says so."""
    if not header:
        return PLAIN
    for clause in _clauses(header):
        for media in _SERVED:
            if clause.takes(media) and (found := _served(clause, media, transforms=transforms, protobuf=protobuf)):
                return found
    return None


def _served(clause: _Clause, media: str, *, transforms: bool, protobuf: bool) -> Accepted | None:
    """The media type with what the clause's parameters ask for, None if it cannot be had."""
    given = clause.parameters
    if given.get("stream", "") not in (("", "watch") if media != YAML else ("",)):
        return None
    if given.get("sv", "") not in ("", "v1"):
        return None
    if not given.keys() & {"as", "g", "v"}:
        return Accepted(media) if media != PROTOBUF or protobuf else None
    as_, version = given.get("as", ""), given.get("v", "")
    if not transforms or as_ not in TRANSFORMS or given.get("g") != _META or version not in ("v1", "v1beta1"):
        return None
    return None if media == PROTOBUF and as_ == "Table" else Accepted(media, as_, version)


def _clauses(header: str) -> list[_Clause]:
    """The header's ranges, best first; what is none is passed over."""
    found: list[_Clause] = []
    for text in header.split(","):
        range_, *parameters = text.split(";")
        type_, _, subtype = (part.strip(" ") for part in range_.partition("/"))
        if "/" in subtype or (not subtype and type_ != "*"):
            continue
        given = {
            name.strip(" "): value for name, value in (each.split("=") for each in parameters if each.count("=") == 1)
        }
        clause = _Clause(
            type_, subtype or "*", _quality(given.pop("q", "1")), {k: v.strip(" ") for k, v in given.items()}
        )
        # Put in its place as a sort of few elements does it, since the order depends on how one sorts.
        place = len(found)
        while place and clause.before(found[place - 1]):
            place -= 1
        found.insert(place, clause)
    return found


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def negotiate(request: Request, *, protobuf: bool = True) -> Accepted:
    """What to answer in; protobuf says whether whole objects have that form, which custom resources have not. Raises
    StatusError 406."""
    header = request.headers.get("accept", "")
    if header == JSON or not header:
        return PLAIN
    # Upstream's custom resources are behind no route.
    if protobuf and not routed(header):
        raise not_acceptable(watchable=request.info.verb in ("list", "watch"))
    accepted = parse(header, True, protobuf)
    if accepted is None:
        raise not_served()
    return accepted


def routed(header: str) -> bool:
    """Whether the header names a type in a way that upstream's routes understand."""
    return not header or not _ROUTED.isdisjoint(clause.partition(";")[0].strip(" ") for clause in header.split(","))


def not_served() -> errors.StatusError:
    """406 where no route has looked at the header, or it asks for more than a media type."""
    return errors.failure(406, "NotAcceptable", f"only the following media types are accepted: {LISTED}")


def not_acceptable(*, watchable: bool = False, listed: str = LISTED) -> errors.StatusError:
    """406 for media types that no representation has."""
    streams = f", {JSON};stream=watch, {PROTOBUF};stream=watch" if watchable else ""
    text = f"406: Not Acceptable\n\nAvailable representations: {listed}{streams}"
    error = errors.failure(406, "NotAcceptable", text)
    error.status["details"] = {}
    return error


def is_pretty(request: Request) -> bool:
    """Whether JSON is to be indented: asked for, or the client is one that people read from."""
    if "pretty=1" in request.headers.get("accept", ""):
        return True
    if request.query_string and request.param("pretty"):
        return request.flag("pretty")
    return request.headers.get("user-agent", "").startswith(_PEOPLE)


def dump(obj: Any, media: str, *, pretty: bool = False) -> bytes:
    """Encode in a media type."""
    if media == PROTOBUF:
        return protobuf_encoder.encode(obj)
    if media == YAML:
        text: str = yaml.dump(obj, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=True)
        return text.encode()
    return orjson.dumps(obj, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE) if pretty else orjson.dumps(obj)


def media_type(request: Request) -> str:
    """The body's media type without parameters; JSON when the client does not say."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() or JSON


def load(request: Request, kind: str = "", twice: list[str] | None = None) -> Object:
    """The request's body as an object; kind is what it should be, for error texts, and `twice` gets a text for every
    key that comes again. Raises StatusError 400, 413 and 415."""
    try:
        return read(request, twice)
    except reading.Unreadable as error:
        raise reading.unrecognized(kind, str(error), request.body) from None


def read(request: Request, twice: list[str] | None = None) -> Object:
    """The same for those who have their own words. Raises Unreadable, and StatusError 413 and 415."""
    if request.oversized:
        raise errors.failure(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    media = media_type(request)
    if media == JSON:
        return reading.json_object(request.body, twice)
    if media == YAML:
        return reading.yaml_object(request.body, twice)
    if media == PROTOBUF:
        return _load_protobuf(request.body)
    text = f"the body of the request was in an unknown format - accepted media types include: {LISTED}"
    raise errors.failure(415, "UnsupportedMediaType", text)


def _load_protobuf(body: bytes) -> Object:
    # Only clients of a certain kind send it, and its decoders are compiled on first use.
    from pynetes.machinery import protobuf

    try:
        return protobuf.decode(body)
    except Malformed as error:
        raise reading.Unreadable(str(error)) from None


def copied(obj: Object) -> Object:
    """An object of its own with the same content."""
    copy: Object = orjson.loads(orjson.dumps(obj))
    return copy


def load_json(body: bytes) -> Object:
    """Parse JSON that must be an object. Raises StatusError 400."""
    try:
        return reading.json_object(body)
    except reading.Unreadable as error:
        raise errors.bad_request(f"error decoding JSON: {error}") from None
