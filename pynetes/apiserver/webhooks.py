"""Calls webhooks: one JSON review POSTed by HTTPS to a URL, or to an endpoint of a Service; its answer.

Endpoints are dialled, not the cluster IP: the API server need not stand on a machine that kube-proxy programs.
"""

import asyncio
import base64
import random
import ssl
from functools import lru_cache
from urllib.parse import urlsplit

import orjson

from pynetes.apis.core import services
from pynetes.apiserver.aggregator.remotes import endpoints
from pynetes.apiserver.objects import Objects
from pynetes.component.streaming.http1 import DialError, Target, exchange
from pynetes.machinery import go_json
from pynetes.machinery.meta import Key, Object

#: A longer answer is none.
LIMIT = 16 << 20
#: By status; empty where the answer's own text is told.
_STATUSES = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    403: "",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    406: "",
    409: "the server reported a conflict",
    415: "",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


class CallFailed(Exception):
    """No answer came, or none that makes sense; worded as upstream's HTTP client words it."""


@lru_cache(maxsize=256)
def _tls(bundle: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=base64.b64decode(bundle).decode() if bundle else None)


def _url(config: Object, timeout: float) -> str:
    if url := config.get("url"):
        parts = urlsplit(url)
        return f"https://{parts.netloc}{parts.path}?timeout={timeout:g}s"
    service = config["service"]
    path = service.get("path") or "/"
    port = service.get("port") or 443
    return f"https://{service['name']}.{service['namespace']}.svc:{port}{path}?timeout={timeout:g}s"


def _target(objects: Objects, config: Object) -> Target:
    context = _tls(config.get("caBundle") or "")
    if url := config.get("url"):
        parts = urlsplit(url)
        return Target(parts.hostname or "", parts.port or 443, context)
    reference = config["service"]
    namespace, name, number = reference["namespace"], reference["name"], reference.get("port") or 443
    found = objects.get(services.RESOURCE, Key(namespace, name))
    if found is None:
        raise CallFailed(f'service "{name}" not found')
    port = next((each for each in found["spec"].get("ports") or () if each["port"] == number), None)
    if port is None:
        raise CallFailed(f"no service port {number} found for service {json_text(name)}")
    addresses = endpoints(objects, namespace, name, port.get("name") or "")
    if not addresses:
        raise CallFailed(f'no endpoints available for service "{name}"')
    host, at = random.choice(addresses)
    return Target(host, at, context, f"{name}.{namespace}.svc")


def json_text(value: object) -> str:
    """As JSON."""
    return orjson.dumps(value).decode()


async def call(objects: Objects, config: Object, review: Object, timeout: float) -> Object:
    """POST the review to where a clientConfig points; the review that is answered. Raises CallFailed."""
    url = _url(config, timeout)
    try:
        async with asyncio.timeout(timeout):
            target = _target(objects, config)
            path = url.removeprefix("https://").partition("/")[2]
            headers = [("Content-Type", "application/json"), ("Accept", "application/json")]
            if target.name:
                headers.append(("Host", urlsplit(url).netloc))
            with await exchange(target, "POST", f"/{path}", headers, orjson.dumps(review)) as sent:
                body = b""
                async for chunk in sent.body():
                    body += chunk
                    if len(body) > LIMIT:
                        raise CallFailed("the answer is too large")
                status, media_type = sent.status, sent.header("content-type") or " "
    except (DialError, CallFailed) as error:
        raise CallFailed(f'Post "{url}": {error}') from error
    except TimeoutError:
        raise CallFailed(f'Post "{url}": context deadline exceeded') from None
    except ValueError as error:
        raise CallFailed(f'Post "{url}": {error}') from error
    if not 200 <= status <= 206:
        raise CallFailed(_unsuccessful(status, body, media_type))
    try:
        answer = orjson.loads(body)
    except ValueError as error:
        raise CallFailed(f"couldn't get version/kind; json parse error: {go_json.problem(body)}") from error
    if not isinstance(answer, dict):
        kind = go_json.kind_of(answer)
        raise CallFailed(
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {kind} into Go value of type "
            'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
    return answer


def _unsuccessful(status: int, body: bytes, media_type: str) -> str:
    """What a client says of a status; of the body it shows text only, and of some statuses only."""
    text = body[:2048].decode("utf-8", "replace").strip() if media_type.startswith(("text/", " ")) else "unknown"
    if status in _STATUSES:
        return _STATUSES[status] or text
    if status >= 500:
        return f"an error on the server ({json_text(text)}) has prevented the request from succeeding"
    return f"the server responded with the status code {status} but did not return more information"
