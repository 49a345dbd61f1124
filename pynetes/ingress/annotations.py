"""The annotations of an Ingress: one table of those that are understood, each with the grammar of its value.

Names and meanings are ingress-nginx's. One that is understood but has a value outside its grammar makes the Ingress
invalid: to serve it without what its author asked for may be worse than not to serve it. So do those that would
protect something in ways that are not offered here, and those that carry nginx configuration, which is never taken.
Others that are not known are named in an Event and ignored.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pynetes.ingress import grammar
from pynetes.ingress.nginx.configuration import Protocol
from pynetes.machinery.meta import Object

PREFIX = "nginx.ingress.kubernetes.io/"
_CODES = {str(code): code for code in (301, 302, 303, 307, 308)}
_SAME_SITE = {word: word for word in ("None", "Lax", "Strict")}
_PROTOCOLS = {word: Protocol(word.lower()) for word in ("HTTP", "HTTPS", "GRPC", "GRPCS")}

KNOWN: Mapping[str, Callable[[str], Any]] = {
    "affinity": grammar.one_of({"cookie": "cookie"}),
    "affinity-mode": grammar.one_of({"balanced": "balanced", "persistent": "persistent"}),
    "allowlist-source-range": grammar.listed(grammar.network),
    "app-root": grammar.path,
    "auth-realm": grammar.text,
    "auth-secret": grammar.name,
    "auth-secret-type": grammar.one_of({"auth-file": "auth-file", "auth-map": "auth-map"}),
    "auth-type": grammar.one_of({"basic": "basic"}),
    "backend-protocol": grammar.one_of(_PROTOCOLS),
    "canary": grammar.boolean,
    "canary-by-cookie": grammar.cookie,
    "canary-by-header": grammar.token,
    "canary-by-header-pattern": grammar.expression,
    "canary-by-header-value": grammar.text,
    "canary-weight": grammar.whole(0, 1_000_000),
    "canary-weight-total": grammar.whole(1, 1_000_000),
    "cors-allow-credentials": grammar.boolean,
    "cors-allow-headers": grammar.headers,
    "cors-allow-methods": grammar.headers,
    "cors-allow-origin": grammar.listed(grammar.origin),
    "cors-expose-headers": grammar.headers,
    "cors-max-age": grammar.whole(0, 31_536_000),
    "default-backend": grammar.name,
    "denylist-source-range": grammar.listed(grammar.network),
    "enable-cors": grammar.boolean,
    "force-ssl-redirect": grammar.boolean,
    "from-to-www-redirect": grammar.boolean,
    "limit-burst-multiplier": grammar.whole(1, 1000),
    "limit-connections": grammar.whole(1, 1_000_000),
    "limit-rpm": grammar.whole(1, 1_000_000),
    "limit-rps": grammar.whole(1, 1_000_000),
    "limit-whitelist": grammar.listed(grammar.network),
    "load-balance": grammar.one_of({"round_robin": "round_robin", "ewma": "round_robin"}),
    "permanent-redirect": grammar.url,
    "permanent-redirect-code": grammar.one_of(_CODES),
    "proxy-body-size": grammar.size,
    "proxy-buffering": grammar.switch,
    "proxy-connect-timeout": grammar.seconds,
    "proxy-next-upstream-tries": grammar.whole(0, 100),
    "proxy-read-timeout": grammar.seconds,
    "proxy-request-buffering": grammar.switch,
    "proxy-send-timeout": grammar.seconds,
    "rewrite-target": grammar.template,
    "server-alias": grammar.listed(grammar.host),
    "service-upstream": grammar.boolean,
    "session-cookie-domain": grammar.host,
    "session-cookie-expires": grammar.whole(0, 315_360_000),
    "session-cookie-max-age": grammar.whole(0, 315_360_000),
    "session-cookie-name": grammar.cookie,
    "session-cookie-path": grammar.path,
    "session-cookie-samesite": grammar.one_of(_SAME_SITE),
    "session-cookie-secure": grammar.boolean,
    "ssl-redirect": grammar.boolean,
    "temporal-redirect": grammar.url,
    "temporal-redirect-code": grammar.one_of(_CODES),
    "upstream-vhost": grammar.host,
    "use-regex": grammar.boolean,
    "whitelist-source-range": grammar.listed(grammar.network),
    "x-forwarded-prefix": grammar.either(grammar.boolean, grammar.path),
}
#: Not understood, and not to be ignored either: what they protect would be open, or they carry configuration.
REFUSED = (
    "auth-keepalive",
    "auth-proxy-set-headers",
    "auth-response-headers",
    "auth-signin",
    "auth-snippet",
    "auth-tls-",
    "auth-url",
    "configuration-snippet",
    "enable-modsecurity",
    "global-rate-limit",
    "modsecurity-snippet",
    "proxy-ssl-",
    "satisfy",
    "server-snippet",
    "ssl-passthrough",
    "stream-snippet",
)


def read(ingress: Object) -> tuple[dict[str, Any], list[str], list[str]]:
    """What the annotations say, what is wrong with them, and which are ignored."""
    values: dict[str, Any] = {}
    wrong: list[str] = []
    ignored: list[str] = []
    for full, text in sorted((ingress["metadata"].get("annotations") or {}).items()):
        if not full.startswith(PREFIX):
            continue
        short = full.removeprefix(PREFIX)
        reader = KNOWN.get(short)
        if reader is None:
            if short.startswith(REFUSED):
                wrong.append(f"annotation {full}: is not supported and cannot safely be ignored")
            else:
                ignored.append(f"annotation {full} is not known and ignored")
            continue
        try:
            values[short] = reader(text)
        except ValueError as problem:
            wrong.append(f"annotation {full}: {problem}")
    return values, wrong, ignored
