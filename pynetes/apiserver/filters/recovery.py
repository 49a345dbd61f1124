"""The outermost filter: what a request asks for, its audit ID, and every exception turned into a Status."""

import logging

from pynetes.apiserver import encoding, requestinfo
from pynetes.apiserver.http import JSON, Handler, Request, Response, error_response, head_of
from pynetes.apiserver.repeat import identifier
from pynetes.component import logs
from pynetes.machinery import errors
from pynetes.machinery.errors import StatusError
from pynetes.storage.backend import Unavailable

log = logging.getLogger(__name__)
_CACHE = ("Cache-Control", "no-cache, private")


async def recover(request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
    """Answer, whatever happens below."""
    request.info = requestinfo.parse(request.method, request.path, request.query_string)
    request.audit_id = request.headers.get("audit-id") or identifier()
    try:
        response = await next(request)
    except StatusError as error:
        response = failed(request, error)
    except Unavailable as error:
        log.warning(logs.fact("the store is unavailable", path=request.path, error=error))
        response = failed(request, errors.unavailable(f"the store is unavailable: {error}"))
    except TimeoutError:
        response = failed(request, timed_out(request))
    except Exception as error:
        log.exception(logs.fact("a request failed", method=request.method, path=request.path))
        response = failed(request, errors.internal(f"{type(error).__name__}: {error}"))
    cache = () if any(name == "Cache-Control" for name, _ in response.headers) else (_CACHE,)
    told = (*cache, *request.flow, *response.headers)
    response.headers = (("Audit-Id", request.audit_id), *told)
    if request.repeat is not None and "audit-id" not in request.headers and not request.warnings:
        request.repeat.sign()
        request.repeat.head = head_of(response.status, told, response.content_type)
    if request.warnings:
        response.headers = (*response.headers, *(("Warning", _warning(text)) for text in _unique(request.warnings)))
    return response


def failed(request: Request, error: StatusError) -> Response:
    """The Status in the representation that the client asked for, JSON if it asked for none that is known."""
    response = error_response(error)
    accept = request.headers.get("accept", "")
    if accept and request.info.is_resource_request:
        accepted = encoding.parse(accept, True, True)
        if accepted is not None and accepted.media != JSON:
            response.body, response.content_type = encoding.dump(error.status, accepted.media), accepted.media
    return response


def timed_out(request: Request) -> StatusError:
    """504, as upstream's timeout filter words it."""
    text = "Timeout: request did not complete within the allotted timeout"
    return errors.failure(504, "Timeout", text, retryAfterSeconds=1)


def _unique(texts: list[str]) -> dict[str, None]:
    return dict.fromkeys(texts)


def _warning(text: str) -> str:
    """RFC 7234: code, agent, quoted text; control characters could end the header."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'
