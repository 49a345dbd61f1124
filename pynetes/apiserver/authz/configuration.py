"""Reads AuthorizationConfiguration: the authorizers in order, webhooks with the conditions under which they are asked.

Everything this server could not enforce as it is written is an error at start, and leaves the configuration of before
in force when it comes later.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pynetes.component.config import seconds
from pynetes.machinery import cel

API_VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
TYPES = ("Webhook", "Node", "RBAC", "AlwaysAllow", "AlwaysDeny", "ABAC")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
MOST_CONDITIONS = 64
#: The longest that a request may wait for a webhook, in seconds.
LONGEST = 30.0
VARIABLES = ("request",)


@dataclass(frozen=True, kw_only=True)
class WebhookSettings:
    """How one webhook is asked, times in seconds; a life of 0 remembers nothing."""

    kubeconfig: str
    timeout: float
    allowed: float
    denied: float
    #: Whether silence, or a condition that fails, is a no; otherwise the next authorizer decides.
    fails_closed: bool
    #: CEL over `request`, a SubjectAccessReview's spec: the webhook is asked where all of them hold.
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One authorizer."""

    type: str
    name: str
    webhook: WebhookSettings | None = None


def load(path: str) -> tuple[Entry, ...]:
    """Raises OSError, or ValueError naming file and place."""
    try:
        return _configuration(yaml.safe_load(Path(path).read_bytes()))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _configuration(document: Any) -> tuple[Entry, ...]:
    if not isinstance(document, dict) or document.get("kind") != "AuthorizationConfiguration":
        raise ValueError("kind: must be AuthorizationConfiguration")
    if document.get("apiVersion") not in API_VERSIONS:
        raise ValueError(f"apiVersion: must be {API_VERSIONS[0]}")
    _only("", document, "kind", "apiVersion", "authorizers")
    given = document.get("authorizers")
    if not isinstance(given, list) or not given:
        raise ValueError("authorizers: at least one authorization mode must be defined")
    entries = tuple(_entry(f"authorizers[{number}]", entry) for number, entry in enumerate(given))
    for what, values in (
        ("name", [entry.name for entry in entries]),
        ("type", [entry.type for entry in entries if entry.type != "Webhook"]),
    ):
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"authorizers: two of them have the {what} {twice[0]!r}")
    return entries


def _entry(at: str, entry: Any) -> Entry:
    _only(at, entry, "type", "name", "webhook")
    kind, name = entry.get("type"), entry.get("name")
    if kind not in TYPES or kind == "ABAC":
        raise ValueError(f"{at}.type: must be one of {', '.join(TYPES[:-1])}")
    if not isinstance(name, str) or not LABEL.fullmatch(name):
        raise ValueError(f"{at}.name: must be a DNS subdomain")
    if (kind == "Webhook") != ("webhook" in entry):
        raise ValueError(f"{at}.webhook: required for type Webhook, and for no other")
    webhook = _webhook(f"{at}.webhook", entry["webhook"]) if kind == "Webhook" else None
    return Entry(type=kind, name=name, webhook=webhook)


def _webhook(at: str, given: Any) -> WebhookSettings:
    _only(
        at,
        given,
        "authorizedTTL",
        "cacheAuthorizedRequests",
        "unauthorizedTTL",
        "cacheUnauthorizedRequests",
        "timeout",
        "subjectAccessReviewVersion",
        "matchConditionSubjectAccessReviewVersion",
        "failurePolicy",
        "connectionInfo",
        "matchConditions",
    )
    conditions = tuple(_conditions(f"{at}.matchConditions", given.get("matchConditions") or ()))
    if given.get("subjectAccessReviewVersion") != "v1":
        raise ValueError(f"{at}.subjectAccessReviewVersion: must be v1")
    if conditions and given.get("matchConditionSubjectAccessReviewVersion") != "v1":
        raise ValueError(f"{at}.matchConditionSubjectAccessReviewVersion: must be v1 when matchConditions are set")
    policy = given.get("failurePolicy")
    if policy not in ("NoOpinion", "Deny"):
        raise ValueError(f"{at}.failurePolicy: must be NoOpinion or Deny")
    timeout = _seconds(f"{at}.timeout", given.get("timeout"), None)
    if not 0 < timeout <= LONGEST:
        raise ValueError(f"{at}.timeout: must be more than 0s and at most {LONGEST:g}s")
    allowed = _seconds(f"{at}.authorizedTTL", given.get("authorizedTTL"), 300.0)
    denied = _seconds(f"{at}.unauthorizedTTL", given.get("unauthorizedTTL"), 30.0)
    return WebhookSettings(
        kubeconfig=_connection(f"{at}.connectionInfo", given.get("connectionInfo")),
        timeout=timeout,
        allowed=allowed if given.get("cacheAuthorizedRequests", True) else 0.0,
        denied=denied if given.get("cacheUnauthorizedRequests", True) else 0.0,
        fails_closed=policy == "Deny",
        conditions=conditions,
    )


def _connection(at: str, given: Any) -> str:
    _only(at, given, "type", "kubeConfigFile")
    if given.get("type") != "KubeConfigFile":
        raise ValueError(f"{at}.type: must be KubeConfigFile; this API server is none of its own pods")
    path = given.get("kubeConfigFile")
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(f"{at}.kubeConfigFile: must be an absolute path")
    if not Path(path).is_file():
        raise ValueError(f"{at}.kubeConfigFile: {path} is no file")
    return path


def _conditions(at: str, given: Any) -> Iterator[str]:
    if len(given) > MOST_CONDITIONS:
        raise ValueError(f"{at}: must have at most {MOST_CONDITIONS} items")
    known = set()
    for number, condition in enumerate(given):
        _only(f"{at}[{number}]", condition, "expression")
        expression = condition.get("expression")
        if not isinstance(expression, str) or not expression.strip():
            raise ValueError(f"{at}[{number}].expression: required")
        if expression in known:
            raise ValueError(f"{at}[{number}].expression: is there already")
        known.add(expression)
        try:
            kind = cel.program(expression, VARIABLES).kind
        except cel.CompileError as error:
            raise ValueError(f"{at}[{number}].expression: compilation failed: {error}") from None
        if kind != "BOOL":
            raise ValueError(f"{at}[{number}].expression: must evaluate to bool")
        yield expression


def _seconds(at: str, value: Any, otherwise: float | None) -> float:
    if value is None and otherwise is not None:
        return otherwise
    try:
        found = seconds(str(value))
    except ValueError:
        raise ValueError(f"{at}: must be a duration such as 3s") from None
    if found <= 0:
        raise ValueError(f"{at}: must be more than 0s")
    return found


def _only(at: str, given: Any, *known: str) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"{at or 'document'}: must be an object")
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{at + '.' if at else ''}{unknown[0]}: unknown or not supported")
