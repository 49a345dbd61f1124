"""What an Ingress's annotations ask for, as the policy of its rules in nginx's tables."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pynetes.ingress.nginx.configuration import Location, Protocol
from pynetes.machinery.meta import Key, Object, key_of

#: ingress-nginx's defaults.
BODY = 1 << 20
CONNECT, SEND, READ = 5, 60, 60
BURST = 5
COOKIE = "INGRESSCOOKIE"
CORS_METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
CORS_HEADERS = (
    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
)
Said = Mapping[str, Any]


class Users(NamedTuple):
    """A file of names and passwords' hashes, for nginx to read."""

    file: str
    text: str


class Invalid(ValueError):
    """What annotations ask for together, or of other objects, cannot be."""


def location_of(said: Said) -> Location:
    """The part that nginx must know before it sees a request.

    Whole powers of two for sizes, so that there are few locations and hardly ever a new one: requests that announce
    their length are held to the exact size by the tables."""
    body = said.get("proxy-body-size", BODY)
    return Location(
        protocol=said.get("backend-protocol", Protocol.HTTP),
        body=1 << (body - 1).bit_length() if body else 0,
        request_buffering=said.get("proxy-request-buffering", True),
        buffering=said.get("proxy-buffering", False),
    )


def policy_of(ingress: Object, said: Said, users: Users | None) -> dict[str, Any]:
    """The policy. Raises Invalid."""
    policy: dict[str, Any] = {
        "body": said.get("proxy-body-size", BODY),
        "timeouts": {
            "connect": said.get("proxy-connect-timeout", CONNECT),
            "send": said.get("proxy-send-timeout", SEND),
            "read": said.get("proxy-read-timeout", READ),
        },
        "tries": max(0, said.get("proxy-next-upstream-tries", 3) - 1),
    }
    if said.get("force-ssl-redirect"):
        policy["secure"] = "always"
    elif said.get("ssl-redirect", True):
        policy["secure"] = "tls"
    for part in (_addresses, _limits, _cors, _redirects, _affinity, _paths):
        policy |= part(ingress, said)
    if said.get("auth-type"):
        if users is None:
            raise Invalid("annotation auth-type: basic needs auth-secret")
        policy["auth"] = {"realm": said.get("auth-realm", "Authentication Required"), "file": users.file}
    return policy


def _addresses(_ingress: Object, said: Said) -> dict[str, Any]:
    allowed = [*said.get("whitelist-source-range", ()), *said.get("allowlist-source-range", ())]
    denied = said.get("denylist-source-range", ())
    return ({"allow": allowed} if allowed else {}) | ({"deny": denied} if denied else {})


def _limits(ingress: Object, said: Said) -> dict[str, Any]:
    asked = {kind: said[f"limit-{kind}"] for kind in ("rps", "rpm", "connections") if f"limit-{kind}" in said}
    if not asked:
        return {}
    key = f"{key_of(ingress)} "
    free = said.get("limit-whitelist", [])
    burst = said.get("limit-burst-multiplier", BURST)
    return {"limit": {**asked, "burst": burst, "key": key, "status": 503, "free": free}}


def _cors(_ingress: Object, said: Said) -> dict[str, Any]:
    if not said.get("enable-cors"):
        return {}
    cors: dict[str, Any] = {
        "origins": said.get("cors-allow-origin") or ["*"],
        "methods": said.get("cors-allow-methods", CORS_METHODS),
        "headers": said.get("cors-allow-headers", CORS_HEADERS),
        "credentials": said.get("cors-allow-credentials", True),
        "max_age": said.get("cors-max-age", 1_728_000),
    }
    return {"cors": cors | ({"expose": said["cors-expose-headers"]} if "cors-expose-headers" in said else {})}


def _redirects(_ingress: Object, said: Said) -> dict[str, Any]:
    policy: dict[str, Any] = {"app_root": said["app-root"]} if "app-root" in said else {}
    if "temporal-redirect" in said:
        policy["redirect"] = {"url": said["temporal-redirect"], "code": said.get("temporal-redirect-code", 302)}
    elif "permanent-redirect" in said:
        policy["redirect"] = {"url": said["permanent-redirect"], "code": said.get("permanent-redirect-code", 301)}
    return policy


def _affinity(ingress: Object, said: Said) -> dict[str, Any]:
    if "affinity" not in said:
        return {}
    attributes = f"; Path={said.get('session-cookie-path', '/')}; HttpOnly"
    for attribute, annotation in (
        ("Domain", "session-cookie-domain"),
        ("Max-Age", "session-cookie-max-age"),
        ("SameSite", "session-cookie-samesite"),
    ):
        if annotation in said:
            attributes += f"; {attribute}={said[annotation]}"
    if "session-cookie-max-age" not in said and "session-cookie-expires" in said:
        attributes += f"; Max-Age={said['session-cookie-expires']}"
    if said.get("session-cookie-secure"):
        attributes += "; Secure"
    salt = str(ingress["metadata"].get("uid") or key_of(ingress))
    return {
        "affinity": {"cookie": said.get("session-cookie-name", COOKIE), "attributes": attributes, "salt": salt},
    }


def _paths(_ingress: Object, said: Said) -> dict[str, Any]:
    policy: dict[str, Any] = {}
    if "rewrite-target" in said:
        policy["rewrite"] = {"path": said["rewrite-target"]}
    if "upstream-vhost" in said:
        policy["host"] = said["upstream-vhost"]
    prefix = said.get("x-forwarded-prefix")
    if isinstance(prefix, str):
        policy["prefix_header"] = prefix
    elif prefix and "rewrite-target" in said:
        policy["prefix_header"] = said["rewrite-target"]
    return policy


def users_of(
    ingress: Object,
    said: Said,
    secret: Callable[[Key], Object | None],
    decode: Callable[[Object, str], str],
    folder: Path,
) -> Users | None:
    """The users whom basic authentication lets in, from the Secret that the annotation names. Raises Invalid."""
    if "auth-secret" not in said:
        return None
    key = Key(key_of(ingress).namespace, said["auth-secret"])
    found = secret(key)
    if found is None:
        raise Invalid(f"annotation auth-secret: there is no Secret {key}")
    if said.get("auth-secret-type") == "auth-map":
        lines = [f"{name}:{decode(found, name).strip()}" for name in sorted(found.get("data") or ())]
    elif "auth" in (found.get("data") or {}):
        lines = decode(found, "auth").splitlines()
    else:
        raise Invalid(f"annotation auth-secret: the Secret {key} has no key auth")
    text = "".join(f"{line}\n" for line in lines if ":" in line)
    return Users(str(folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.users"), text)


def canary_of(said: Said, backends: list[dict[str, Any]]) -> dict[str, Any]:
    """Which requests a canary takes from the rule that it stands beside."""
    canary: dict[str, Any] = {
        "weight": said.get("canary-weight", 0),
        "total": said.get("canary-weight-total", 100),
        "backends": backends,
        "sum": sum(backend["weight"] for backend in backends),
    }
    names = {"header": "canary-by-header", "value": "canary-by-header-value", "cookie": "canary-by-cookie"}
    canary |= {name: said[annotation] for name, annotation in names.items() if annotation in said}
    if "canary-by-header-pattern" in said:
        canary["pattern"] = f"^(?:{said['canary-by-header-pattern']})$"
    return canary
