"""What is said of webhooks alike, whether for admission or for conversion: where they are, and what they speak."""

import base64
import ssl
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from pynetes.machinery import field, names
from pynetes.machinery.meta import Object

#: Of AdmissionReview and ConversionReview; this server speaks the first.
REVIEW_VERSIONS = ("v1", "v1beta1")
_FORM = "; desired format: https://host[/path]"


def client_config(config: Object, path: str) -> Iterator[field.Error]:
    """A URL or a Service."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield field.required(path, "exactly one of url or service is required")
    elif url is not None:
        yield from _url(url, f"{path}.url")
    else:
        yield from _service(service or {}, f"{path}.service")


def _url(text: str, path: str) -> Iterator[field.Error]:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        yield field.required(path, f"url must be a valid URL: parse {field.quote(text)}: {error}{_FORM}")
        return
    if parts.scheme != "https":
        yield field.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}")
    user, at, host = parts.netloc.rpartition("@")
    if not host:
        yield field.invalid(path, "", f"host must be specified{_FORM}")
    if at:
        yield field.invalid(path, user, "user information is not permitted in the URL")
    if parts.fragment:
        yield field.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield field.invalid(path, parts.query, "query parameters are not permitted in the URL")


def _service(service: Object, path: str) -> Iterator[field.Error]:
    # Upstream takes one for the other here, so that they are told in this order.
    for name in ("namespace", "name"):
        if not service.get(name):
            yield field.required(f"{path}.{'name' if name == 'namespace' else 'namespace'}")
    port = service.get("port", 0)
    if problems := names.port_number(port):
        yield field.invalid(f"{path}.port", port, f"port is not valid: {', '.join(problems)}")
    if service.get("path") not in (None, "", "/"):
        yield from _service_path(service["path"], f"{path}.path")


def _service_path(text: str, path: str) -> Iterator[field.Error]:
    if text == "//":
        yield field.invalid(path, text, "segment[0] may not be empty")
        return
    if not text.startswith("/"):
        yield field.invalid(path, text, "must start with a '/'")
    for index, step in enumerate(text[1:].removesuffix("/").split("/")):
        if not step:
            yield field.invalid(path, text, f"segment[{index}] may not be empty")
            continue
        for problem in names.dns_subdomain(step):
            yield field.invalid(path, text, f"segment[{index}]: {problem}")


def ca_bundle(bundle: str, path: str) -> Iterator[field.Error]:
    """Certificates that a client could trust: at least one that can be read."""
    try:
        ssl.create_default_context(cadata=base64.b64decode(bundle).decode())
    except (ValueError, ssl.SSLError):
        text = "unable to load root certificates: unable to parse bytes as PEM block"
        yield field.invalid(path, bundle, text)


def review_versions(versions: Sequence[Any], path: str, *, required: str = "") -> Iterator[field.Error]:
    """Names of versions, among them one that the server speaks; required is what is said when there is none."""
    if not versions:
        yield field.required(path, required)
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            yield field.invalid(f"{path}[{index}]", version, "duplicate version")
            continue
        seen.add(version)
        for problem in names.dns1035_label(version):
            yield field.invalid(f"{path}[{index}]", version, problem)
    if not seen.intersection(REVIEW_VERSIONS):
        yield field.invalid(path, list(versions), f"must include at least one of {', '.join(REVIEW_VERSIONS)}")
