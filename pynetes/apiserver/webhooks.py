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
from pynetes.machinery.meta import Key, Object

#: A longer answer is none.
LIMIT = 16 << 20


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
                status = sent.status
    except (DialError, CallFailed) as error:
        raise CallFailed(f'Post "{url}": {error}') from error
    except TimeoutError:
        raise CallFailed(f'Post "{url}": context deadline exceeded') from None
    except ValueError as error:
        raise CallFailed(f'Post "{url}": {error}') from error
    if status != 200:
        shown = json_text(body[:2048].decode("utf-8", "replace"))
        if status == 404:
            raise CallFailed("the server could not find the requested resource")
        raise CallFailed(f"an error on the server ({shown}) has prevented the request from succeeding")
    try:
        answer = orjson.loads(body)
    except ValueError as error:
        raise CallFailed(f"the answer is not JSON: {error}") from error
    if not isinstance(answer, dict):
        raise CallFailed("the answer is no object")
    return answer
