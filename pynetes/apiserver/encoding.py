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


_CHOICES = {"*/*": JSON, "": JSON, JSON: JSON, YAML: YAML, PROTOBUF: PROTOBUF}


@lru_cache(maxsize=256)
def parse(header: str, transforms: bool = True, protobuf: bool = False) -> Accepted | None:
    """The best of an Accept header that can be served; None when nothing can. Metadata alone has a protobuf form
    for every kind; whole objects only where the caller says so."""
    for clause in _by_quality(header or "*/*"):
        media, *parameters = (part.strip() for part in clause.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        chosen = _CHOICES.get(media)
        if chosen is None:
            continue
        as_ = given.get("as", "")
        if chosen == PROTOBUF and (as_ == "Table" if as_ else not protobuf):
            continue
        if not as_:
            return Accepted(chosen)
        if transforms and as_ in TRANSFORMS and given.get("g", _META) == _META and given.get("v") in ("v1", "v1beta1"):
            return Accepted(chosen, as_, given["v"])
    return None


def _by_quality(header: str) -> list[str]:
    def quality(clause: str) -> float:
        _, found, value = clause.partition("q=")
        try:
            return -float(value.split(";")[0]) if found else -1.0
        except ValueError:
            return 0.0

    return sorted((clause.strip() for clause in header.split(",")), key=quality)


def negotiate(request: Request, *, protobuf: bool = True) -> Accepted:
    """What to answer in; protobuf says whether whole objects have that form. Raises StatusError 406."""
    header = request.headers.get("accept", "")
    if header == JSON:
        return PLAIN
    accepted = parse(header, True, protobuf)
    if accepted is None:
        medias = {clause.partition(";")[0].strip() for clause in header.split(",")}
        if not medias & _CHOICES.keys():
            raise not_acceptable(watchable=request.info.verb in ("list", "watch"))
        raise errors.failure(406, "NotAcceptable", f"only the following media types are accepted: {LISTED}")
    return accepted


def not_acceptable(*, watchable: bool = False) -> errors.StatusError:
    """406 for media types that no representation has."""
    streams = f", {JSON};stream=watch, {PROTOBUF};stream=watch" if watchable else ""
    text = f"406: Not Acceptable\n\nAvailable representations: {LISTED}{streams}"
    error = errors.failure(406, "NotAcceptable", text)
    error.status["details"] = {}
    return error


def is_pretty(request: Request) -> bool:
    """Whether JSON is to be indented: asked for, or the client is one that people read from."""
    if request.query_string and "pretty" in request.query:
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
    if media in (JSON, "*/*"):
        return reading.json_object(request.body, twice)
    if media in (YAML, "application/x-yaml"):
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
