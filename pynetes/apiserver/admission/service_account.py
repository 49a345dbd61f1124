"""ServiceAccount: every pod runs as an account, and finds its token, the cluster's CA and its namespace mounted."""

import random
from collections.abc import Iterator

from pynetes.apis.core import serviceaccounts
from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Policy
from pynetes.apiserver.authz.node import references
from pynetes.apiserver.objects import Context
from pynetes.machinery import field
from pynetes.machinery.meta import Key, Object

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
#: With it an account's pods may use no Secrets but those that it names.
ENFORCE = "kubernetes.io/enforce-mountable-secrets"
TRUE = ("1", "t", "T", "TRUE", "true", "True")
MIRROR = "kubernetes.io/config.mirror"
#: A token's requested life: an hour and the seconds by which those of kubelets are told apart.
TOKEN_SECONDS = 3607
#: The controller makes a new namespace's account within moments; pods wait that long for it.
TRIES, PAUSE = 10, 0.1
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class ServiceAccount(Policy):
    """Pods on create."""

    name = "ServiceAccount"
    admits = frozenset({("", "pods")})
    validates = frozenset({("", "pods")})

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Fill in the account, its pull secrets, and the token's volume. Raises 403 when there is no such account."""
        if not attributes.on("", "pods", CREATE):
            return
        pod = attributes.obj
        assert pod is not None
        if MIRROR in (pod["metadata"].get("annotations") or {}):
            _check_mirror(attributes, pod["spec"])
            return
        spec = pod["spec"]
        spec["serviceAccountName"] = spec.get("serviceAccountName") or "default"
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = await _account(ctx, attributes, spec["serviceAccountName"])
        if _automount(spec, account):
            mount(spec, ctx.settings.projected_configmaps)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403 when the account lets its pods use its own Secrets only, and the pod names another."""
        pod = attributes.obj
        if pod is None or not (
            attributes.on("", "pods", CREATE) or attributes.on("", "pods", UPDATE, subresource="ephemeralcontainers")
        ):
            return
        if MIRROR in (pod["metadata"].get("annotations") or {}):
            return
        name = pod["spec"].get("serviceAccountName") or ""
        account = ctx.objects.get(serviceaccounts.RESOURCE, Key(attributes.namespace, name)) or {}
        annotations = (account.get("metadata") or {}).get("annotations") or {}
        if annotations.get(ENFORCE) not in TRUE:
            return
        found = _foreign if attributes.operation == CREATE else _foreign_later
        for problem in found(pod["spec"], account):
            raise attributes.forbidden(problem)


def _foreign(spec: Object, account: Object) -> Iterator[str]:
    name, own = account["metadata"]["name"], _names(account, "secrets")
    for volume in spec.get("volumes") or ():
        secret = (volume.get("secret") or {}).get("secretName", "")
        if volume.get("secret") and secret not in own:
            yield f'volume with secret.secretName="{secret}" {_not_referenced(name)}'
    yield from _variables(spec, "initContainers", "init container", account)
    yield from _variables(spec, "containers", "container", account)
    own = _names(account, "imagePullSecrets")
    for index, reference in enumerate(spec.get("imagePullSecrets") or ()):
        if reference.get("name", "") not in own:
            text = f'imagePullSecrets[{index}].name="{reference.get("name", "")}"'
            yield f"{text} is not allowed because service account {name} does not reference that imagePullSecret"


def _foreign_later(spec: Object, account: Object) -> Iterator[str]:
    return _variables(spec, "ephemeralContainers", "ephemeral container", account)


def _variables(spec: Object, member: str, title: str, account: Object) -> Iterator[str]:
    own = _names(account, "secrets")
    for container in spec.get(member) or ():
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference is not None and reference.get("name", "") not in own:
                subject = f"{title} {container['name']} with envVar {variable['name']}"
                secret = f'referencing secret.secretName="{reference.get("name", "")}"'
                yield f"{subject} {secret} {_not_referenced(account['metadata']['name'])}"


def _not_referenced(name: str) -> str:
    return f"is not allowed because service account {name} does not reference that secret"


def _names(account: Object, member: str) -> set[str]:
    return {reference.get("name", "") for reference in account.get(member) or ()}


def _check_mirror(attributes: Attributes, spec: Object) -> None:
    if spec.get("serviceAccountName"):
        raise attributes.forbidden("a mirror pod may not reference service accounts")
    if any(plural == "secrets" and name for plural, name in references(spec)):
        raise attributes.forbidden("a mirror pod may not reference secrets")
    for volume in spec.get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken"):
                text = "a mirror pod may not use ServiceAccountToken volume projections"
                raise attributes.forbidden(text)


async def _account(ctx: Context, attributes: Attributes, name: str) -> Object:
    key = Key(attributes.namespace, name)
    for attempt in range(TRIES):
        found = ctx.objects.get(serviceaccounts.RESOURCE, key)
        if found is not None:
            return found
        if attempt:
            await ctx.clock.sleep(PAUSE)
        await ctx.objects.fresh(serviceaccounts.RESOURCE)
    missing = f"serviceaccount {field.quote(name)} not found"
    raise attributes.forbidden(f"error looking up service account {key}: {missing}")


def _automount(spec: Object, account: Object) -> bool:
    for holder in (spec, account):
        if holder.get("automountServiceAccountToken") is not None:
            return bool(holder["automountServiceAccountToken"])
    return True


def mount(spec: Object, further: tuple[tuple[str, str], ...] = ()) -> None:
    """Add the volume, and its mount in every container that has nothing there yet.

    `further` are (ConfigMap, key) pairs whose values are mounted beside the token, each as a file named like the key.
    """
    name = _existing(spec) or f"kube-api-access-{''.join(random.choices(ALPHABET, k=5))}"
    mounted = False
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        mounts = container.get("volumeMounts") or []
        if any(entry.get("mountPath") == MOUNT_PATH for entry in mounts):
            continue
        container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
        mounted = True
    if mounted and not _existing(spec):
        spec["volumes"] = [*(spec.get("volumes") or ()), token_volume(name, further)]


def _existing(spec: Object) -> str | None:
    names = (volume["name"] for volume in spec.get("volumes") or ())
    return next((name for name in names if name.startswith("kube-api-access-")), None)


def token_volume(name: str, further: tuple[tuple[str, str], ...] = ()) -> Object:
    """The three files under the mount path: token, ca.crt, namespace; and those of further ConfigMaps."""
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": authority},
        {"downwardAPI": {"items": [namespace]}},
        *({"configMap": {"name": name, "items": [{"key": key, "path": key}]}} for name, key in further),
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}
