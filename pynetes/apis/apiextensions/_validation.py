"""What a CustomResourceDefinition must be for its resource to be servable.

Upstream validates its internal form, where what all versions have in common stands once, above them; its paths do too.
"""

from collections.abc import Iterator

from pynetes.apis.apiextensions import _approval, _versions
from pynetes.machinery import field, names, webhooks
from pynetes.machinery.meta import Object

SCOPES = ("Cluster", "Namespaced")
_STRATEGIES = ("None", "Webhook")
_PRESERVING = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Names, scope, versions, schemas; scope and group may not change, nor names once they are accepted."""
    yield from sorted(_all(new, old), key=lambda error: error.path != "metadata.name")


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Only the accepted names are looked at."""
    yield from _names((new.get("status") or {}).get("acceptedNames") or {}, "status.acceptedNames")


def _all(new: Object, old: Object | None) -> Iterator[field.Error]:
    spec = new.get("spec") or {}
    about = spec.get("names") or {}
    group, plural, name = spec.get("group") or "", about.get("plural") or "", new["metadata"].get("name") or ""
    if old is None and name != f"{plural}.{group}":
        yield field.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    yield from _group(group)
    if not spec.get("scope"):
        yield field.required("spec.scope")
    elif spec["scope"] not in SCOPES:
        yield field.not_supported("spec.scope", spec["scope"], SCOPES)
    yield from _versions.problems(spec, old, lambda: _named(about))
    if spec.get("preserveUnknownFields") and (spec.get("conversion") or {}).get("strategy") not in (None, "None"):
        strategy = spec["conversion"]["strategy"]
        yield field.invalid("spec.conversion.strategy", strategy, "must be None if spec.preserveUnknownFields is true")
    yield from _conversion(spec.get("conversion") or {}, old)
    if old is not None:
        yield from _unchanged(new, old)
    yield from validate_status(new, old)
    yield from _stored_versions(new, spec)
    yield from _approval.validate(new, old)
    if spec.get("preserveUnknownFields") and not ((old or {}).get("spec") or {}).get("preserveUnknownFields"):
        yield field.invalid("spec.preserveUnknownFields", True, _PRESERVING)


def _group(group: str) -> Iterator[field.Error]:
    if not group:
        yield field.required("spec.group")
    elif problems := names.dns_subdomain(group):
        yield field.invalid("spec.group", group, ",".join(problems))
    elif "." not in group:
        yield field.invalid("spec.group", group, "should be a domain with at least one dot")


def _named(about: Object) -> Iterator[field.Error]:
    """Names that must be there, then whether they are any."""
    for name in ("plural", "singular", "kind", "listKind"):
        if not about.get(name):
            yield field.required(f"spec.names.{name}")
    yield from _names(about, "spec.names")


def _names(about: Object, path: str) -> Iterator[field.Error]:
    kind, list_kind = about.get("kind") or "", about.get("listKind") or ""
    for name in ("plural", "singular", "kind", "listKind"):
        value, mixed = about.get(name) or "", name in ("kind", "listKind")
        if value and (problems := names.dns1035_label(value.lower() if mixed else value)):
            prefix = "may have mixed case, but should otherwise match: " if mixed else ""
            yield field.invalid(f"{path}.{name}", value, prefix + ",".join(problems))
    yield from _short(about, path, "shortNames")
    if kind and kind == list_kind:
        yield field.invalid(f"{path}.listKind", list_kind, "kind and listKind may not be the same")
    yield from _short(about, path, "categories")


def _short(about: Object, path: str, name: str) -> Iterator[field.Error]:
    for index, value in enumerate(about.get(name) or ()):
        if problems := names.dns1035_label(value):
            yield field.invalid(f"{path}.{name}[{index}]", value, ",".join(problems))


def _conversion(conversion: Object, old: Object | None) -> Iterator[field.Error]:
    strategy, path = conversion.get("strategy") or "", "spec.conversion"
    webhook = conversion.get("webhook") or {}
    config, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions")
    if not strategy:
        yield field.required(f"{path}.strategy")
    elif strategy not in _STRATEGIES:
        yield field.not_supported(f"{path}.strategy", strategy, _STRATEGIES)
    if strategy != "Webhook":
        for name, value in (("webhookClientConfig", config), ("conversionReviewVersions", versions or None)):
            if value is not None:
                yield field.forbidden(f"{path}.{name}", "should not be set when strategy is not set to Webhook")
        return
    if config is None:
        yield field.required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook")
    else:
        yield from webhooks.client_config(config, f"{path}.webhookClientConfig")
        if config.get("caBundle") and _settled(old):
            yield from webhooks.ca_bundle(config["caBundle"], f"{path}.webhookClientConfig.caBundle")
    yield from webhooks.review_versions(versions or [], f"{path}.conversionReviewVersions")


def _settled(old: Object | None) -> bool:
    """Whether a CA bundle must be one: not before the definition is established, nor if it was none before."""
    if not _established(old or {}):
        return False
    webhook = (((old or {}).get("spec") or {}).get("conversion") or {}).get("webhook") or {}
    before = (webhook.get("clientConfig") or {}).get("caBundle")
    return not before or not any(webhooks.ca_bundle(before, ""))


def _established(definition: Object) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Established" and each.get("status") == "True" for each in conditions)


def _stored_versions(new: Object, spec: Object) -> Iterator[field.Error]:
    stored = (new.get("status") or {}).get("storedVersions") or []
    if not stored:
        yield field.invalid("status.storedVersions", None, "must have at least one stored version")
        return
    known = [version.get("name") for version in spec.get("versions") or ()]
    for version in spec.get("versions") or ():
        if version.get("storage") and version.get("name") not in stored:
            text = f"must have the storage version {version.get('name')}"
            yield field.invalid("status.storedVersions", stored, text)
    for index, name in enumerate(stored):
        if name not in known:
            text = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions"
                f" until a storage migration ensures no data remains persisted in {name} and removes {name} from"
                " status.storedVersions"
            )
            yield field.invalid(f"status.storedVersions[{index}]", name, text)


def _unchanged(new: Object, old: Object) -> Iterator[field.Error]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    established = _established(old)
    if established and spec.get("scope") != before.get("scope"):
        yield field.invalid("spec.scope", spec.get("scope"), "field is immutable")
    if established:
        value, was = (spec.get("names") or {}).get("kind"), (before.get("names") or {}).get("kind")
        if value != was:
            yield field.invalid("spec.names.kind", value, "field is immutable")
    if spec.get("group") != before.get("group"):
        yield field.invalid("spec.group", spec.get("group"), "field is immutable")
    value, was = (spec.get("names") or {}).get("plural"), (before.get("names") or {}).get("plural")
    if value != was:
        yield field.invalid("spec.names.plural", value, "field is immutable")
