"""Reads AuthenticationConfiguration: the issuers of JWTs that are trusted, and where nobody may be anonymous.

Everything this server could not enforce as it is written is an error at start: a rule that is half understood would let
somebody in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

API_VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """A claim, and what is put before its value."""

    claim: str = ""
    prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class JWTIssuer:
    """One entry of `jwt`."""

    url: str
    discovery_url: str = ""
    ca: bytes = b""
    audiences: tuple[str, ...]
    username: Mapping
    groups: Mapping = Mapping()
    uid: str = ""
    #: Claims that must have exactly this value.
    required: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Anonymous:
    """Whether, and on which paths, requests without credentials are system:anonymous; None: everywhere."""

    enabled: bool = True
    paths: frozenset[str] | None = None

    def allows(self, path: str) -> bool:
        """Whether somebody unknown may ask for this path at all; authorization decides afterwards."""
        return self.enabled and (self.paths is None or path in self.paths)


@dataclass(frozen=True, kw_only=True)
class AuthenticationConfiguration:
    """The file."""

    issuers: tuple[JWTIssuer, ...] = ()
    #: None where the file says nothing: then --anonymous-auth counts.
    anonymous: Anonymous | None = None


def load(path: str) -> AuthenticationConfiguration:
    """Raises OSError, or ValueError naming file and place."""
    try:
        document = yaml.safe_load(Path(path).read_bytes())
        return _configuration(document)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _configuration(document: Any) -> AuthenticationConfiguration:
    if not isinstance(document, dict) or document.get("kind") != "AuthenticationConfiguration":
        raise ValueError("kind: must be AuthenticationConfiguration")
    if document.get("apiVersion") not in API_VERSIONS:
        raise ValueError(f"apiVersion: must be {API_VERSIONS[0]}")
    _only("", document, "kind", "apiVersion", "jwt", "anonymous")
    issuers = tuple(_issuer(f"jwt[{number}]", entry) for number, entry in enumerate(document.get("jwt") or ()))
    urls = [issuer.url for issuer in issuers]
    if len(set(urls)) != len(urls):
        raise ValueError("jwt: two issuers have the same url")
    given = document.get("anonymous")
    return AuthenticationConfiguration(issuers=issuers, anonymous=None if given is None else _anonymous(given))


def _anonymous(given: Any) -> Anonymous:
    _only("anonymous", given, "enabled", "conditions")
    enabled, conditions = given.get("enabled", False), given.get("conditions")
    if not isinstance(enabled, bool):
        raise ValueError("anonymous.enabled: must be true or false")
    if conditions is None:
        return Anonymous(enabled=enabled)
    if not enabled:
        raise ValueError("anonymous.conditions: conditions can be set only if anonymous is enabled")
    return Anonymous(paths=frozenset(_paths(conditions)))


def _paths(conditions: Any) -> Iterator[str]:
    for number, condition in enumerate(conditions):
        _only(f"anonymous.conditions[{number}]", condition, "path")
        if not str(condition.get("path") or "").startswith("/"):
            raise ValueError(f"anonymous.conditions[{number}].path: must begin with /")
        yield condition["path"]


def _issuer(at: str, entry: Any) -> JWTIssuer:
    _only(at, entry, "issuer", "claimMappings", "claimValidationRules", "userValidationRules")
    issuer, mappings = entry.get("issuer") or {}, entry.get("claimMappings") or {}
    _only(f"{at}.issuer", issuer, "url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy")
    _only(f"{at}.claimMappings", mappings, "username", "groups", "uid")
    if entry.get("userValidationRules"):
        raise ValueError(f"{at}.userValidationRules: expressions are not supported")
    audiences = issuer.get("audiences") or []
    if not audiences:
        raise ValueError(f"{at}.issuer.audiences: at least one is required")
    if len(audiences) > 1 and issuer.get("audienceMatchPolicy") != "MatchAny":
        raise ValueError(f"{at}.issuer.audienceMatchPolicy: must be MatchAny with several audiences")
    username = _mapping(f"{at}.claimMappings.username", mappings.get("username"))
    if not username.claim:
        raise ValueError(f"{at}.claimMappings.username.claim: required")
    uid = mappings.get("uid") or {}
    _only(f"{at}.claimMappings.uid", uid, "claim")
    return JWTIssuer(
        url=_https(f"{at}.issuer.url", issuer.get("url")),
        discovery_url=_https(f"{at}.issuer.discoveryURL", issuer["discoveryURL"]) if "discoveryURL" in issuer else "",
        ca=str(issuer.get("certificateAuthority") or "").encode(),
        audiences=tuple(str(audience) for audience in audiences),
        username=username,
        groups=_mapping(f"{at}.claimMappings.groups", mappings.get("groups")),
        uid=str(uid.get("claim") or ""),
        required=tuple(_required(f"{at}.claimValidationRules", entry.get("claimValidationRules") or ())),
    )


def _mapping(at: str, given: Any) -> Mapping:
    if not given:
        return Mapping()
    _only(at, given, "claim", "prefix")
    # Without a thought about the prefix an issuer could name system:masters.
    if given.get("claim") and not isinstance(given.get("prefix"), str):
        raise ValueError(f'{at}.prefix: required when claim is set; it can be ""')
    return Mapping(claim=str(given.get("claim") or ""), prefix=given.get("prefix") or "")


def _required(at: str, rules: Any) -> Iterator[tuple[str, str]]:
    for number, rule in enumerate(rules):
        _only(f"{at}[{number}]", rule, "claim", "requiredValue")
        if not rule.get("claim"):
            raise ValueError(f"{at}[{number}].claim: required")
        yield str(rule["claim"]), str(rule.get("requiredValue") or "")


def _https(at: str, url: Any) -> str:
    parts = urlsplit(str(url or ""))
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError(f"{at}: must be an https URL without user, query and fragment")
    return str(url)


def _only(at: str, given: Any, *known: str) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"{at or 'document'}: must be an object")
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"{at + '.' if at else ''}{unknown[0]}: unknown or not supported")
