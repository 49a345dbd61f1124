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

from pynetes.apiserver.authn import claims
from pynetes.apiserver.authn.claims import Rule
from pynetes.apiserver.config import Config

MOST_ISSUERS = 64
#: Types of expressions that give texts.
LISTS = ("LIST<STRING>", "LIST<DYN>")
API_VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """A claim, and what is put before its value; or an expression in the place of both."""

    claim: str = ""
    prefix: str = ""
    expression: str = ""


@dataclass(frozen=True, kw_only=True)
class JWTIssuer:
    """One entry of `jwt`."""

    url: str
    discovery_url: str = ""
    ca: bytes = b""
    audiences: tuple[str, ...]
    username: Mapping
    groups: Mapping = Mapping()
    uid: Mapping = Mapping()
    #: Key of the user's extra → expression over the claims.
    extra: tuple[tuple[str, str], ...] = ()
    #: Claims that must have exactly this value.
    required: tuple[tuple[str, str], ...] = ()
    claim_rules: tuple[Rule, ...] = ()
    user_rules: tuple[Rule, ...] = ()


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


def of_flags(config: Config) -> tuple[JWTIssuer, ...]:
    """Whom the --oidc flags trust, as it would stand in the file. Raises OSError, or ValueError naming the flag."""
    if not config.oidc_issuer_url:
        return ()
    if not config.oidc_client_id:
        raise ValueError("--oidc-client-id: required with --oidc-issuer-url")
    claim, prefix = config.oidc_username_claim, config.oidc_username_prefix
    # Upstream's way to keep an issuer from naming somebody else's users.
    prefix = "" if prefix == "-" else prefix or ("" if claim == "email" else f"{config.oidc_issuer_url}#")
    mappings = {"username": {"claim": claim, "prefix": prefix}}
    if config.oidc_groups_claim:
        mappings["groups"] = {"claim": config.oidc_groups_claim, "prefix": config.oidc_groups_prefix}
    pairs = (pair.partition("=") for pair in config.oidc_required_claim)
    entry = {
        "issuer": {
            "url": config.oidc_issuer_url,
            "audiences": [config.oidc_client_id],
            "certificateAuthority": Path(config.oidc_ca_file).read_text() if config.oidc_ca_file else "",
        },
        "claimMappings": mappings,
        "claimValidationRules": [{"claim": name, "requiredValue": value} for name, _, value in pairs],
    }
    return (_issuer("--oidc", entry),)


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
    for what in ("url", "discovery_url"):
        known = [found for issuer in issuers if (found := getattr(issuer, what))]
        if len(set(known)) != len(known):
            raise ValueError(f"jwt: two issuers have the same {what}")
    if len(issuers) > MOST_ISSUERS:
        raise ValueError(f"jwt: must have at most {MOST_ISSUERS} items")
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
    _only(f"{at}.claimMappings", mappings, "username", "groups", "uid", "extra")
    audiences = issuer.get("audiences") or []
    if not audiences:
        raise ValueError(f"{at}.issuer.audiences: at least one is required")
    if len(audiences) > 1 and issuer.get("audienceMatchPolicy") != "MatchAny":
        raise ValueError(f"{at}.issuer.audienceMatchPolicy: must be MatchAny with several audiences")
    username = _mapping(f"{at}.claimMappings.username", mappings.get("username"))
    if not username.claim and not username.expression:
        raise ValueError(f"{at}.claimMappings.username: claim or expression is required")
    url = _https(f"{at}.issuer.url", issuer.get("url"))
    discovery = _https(f"{at}.issuer.discoveryURL", issuer["discoveryURL"]) if "discoveryURL" in issuer else ""
    if discovery and discovery == url:
        raise ValueError(f"{at}.issuer.discoveryURL: must be different from URL")
    made = JWTIssuer(
        url=url,
        discovery_url=discovery,
        ca=str(issuer.get("certificateAuthority") or "").encode(),
        audiences=tuple(str(audience) for audience in audiences),
        username=username,
        groups=_mapping(f"{at}.claimMappings.groups", mappings.get("groups"), many=True),
        uid=_mapping(f"{at}.claimMappings.uid", mappings.get("uid"), prefixed=False),
        extra=tuple(_extra(f"{at}.claimMappings.extra", mappings.get("extra") or ())),
        required=tuple(_required(f"{at}.claimValidationRules", entry.get("claimValidationRules") or ())),
        claim_rules=tuple(_rules(f"{at}.claimValidationRules", entry.get("claimValidationRules"), claims.CLAIMS)),
        user_rules=tuple(_rules(f"{at}.userValidationRules", entry.get("userValidationRules"), claims.USER)),
    )
    _mail_is_verified(at, made)
    return made


def _mail_is_verified(at: str, issuer: JWTIssuer) -> None:
    """An address nobody has verified must not name a user: somewhere has to be asked whether it was."""
    seen = [issuer.username.expression, *(rule.expression for rule in issuer.claim_rules)]
    seen += [expression for _, expression in issuer.extra]
    if "claims.email" in issuer.username.expression.replace("claims.email_verified", "") and not any(
        "claims.email_verified" in one for one in seen
    ):
        raise ValueError(
            f"{at}.claimMappings.username.expression: claims.email_verified must be used in"
            " claimMappings.username.expression or claimMappings.extra[*].valueExpression or"
            " claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"
        )


def _mapping(at: str, given: Any, *, many: bool = False, prefixed: bool = True) -> Mapping:
    if not given:
        return Mapping()
    _only(at, given, *(("claim", "prefix", "expression") if prefixed else ("claim", "expression")))
    if expression := given.get("expression"):
        if given.get("claim") or given.get("prefix"):
            raise ValueError(f"{at}: claim and expression can't both be set")
        kinds = ("STRING", *LISTS, "DYN") if many else ("STRING", "DYN")
        return Mapping(expression=claims.check(f"{at}.expression", expression, claims.CLAIMS, *kinds))
    # Without a thought about the prefix an issuer could name system:masters.
    if prefixed and given.get("claim") and not isinstance(given.get("prefix"), str):
        raise ValueError(f'{at}.prefix: required when claim is set; it can be ""')
    return Mapping(claim=str(given.get("claim") or ""), prefix=given.get("prefix") or "")


def _extra(at: str, entries: Any) -> Iterator[tuple[str, str]]:
    known = set()
    for number, entry in enumerate(entries):
        _only(f"{at}[{number}]", entry, "key", "valueExpression")
        key = str(entry.get("key") or "")
        domain, slash, name = key.partition("/")
        if not slash or "." not in domain or not name or key != key.lower():
            raise ValueError(f"{at}[{number}].key: must be a lower-case domain/name such as example.org/team")
        if any(domain == own or domain.endswith(f".{own}") for own in ("kubernetes.io", "k8s.io")):
            raise ValueError(f"{at}[{number}].key: kubernetes.io and k8s.io are reserved")
        if key in known:
            raise ValueError(f"{at}[{number}].key: {key} is there already")
        known.add(key)
        where = f"{at}[{number}].valueExpression"
        yield key, claims.check(where, entry.get("valueExpression"), claims.CLAIMS, "STRING", *LISTS, "DYN")


def _required(at: str, rules: Any) -> Iterator[tuple[str, str]]:
    for number, rule in enumerate(rules):
        _only(f"{at}[{number}]", rule, "claim", "requiredValue", "expression", "message")
        if bool(rule.get("claim")) == bool(rule.get("expression")):
            raise ValueError(f"{at}[{number}]: exactly one of claim and expression is required")
        if rule.get("expression") and "requiredValue" in rule:
            raise ValueError(f"{at}[{number}].requiredValue: can't be set with expression")
        if rule.get("claim"):
            if rule.get("message"):
                raise ValueError(f"{at}[{number}].message: can't be set with claim")
            yield str(rule["claim"]), str(rule.get("requiredValue") or "")


def _rules(at: str, rules: Any, variables: tuple[str, ...]) -> Iterator[Rule]:
    known = set()
    for number, rule in enumerate(rules or ()):
        if variables is claims.USER:
            _only(f"{at}[{number}]", rule, "expression", "message")
        elif not rule.get("expression"):
            continue
        where = f"{at}[{number}].expression"
        expression = claims.check(where, rule.get("expression"), variables, "BOOL")
        if expression in known:
            raise ValueError(f"{where}: is there already")
        known.add(expression)
        yield Rule(expression, str(rule.get("message") or ""))


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
