"""Fills Secrets of type kubernetes.io/service-account-token with a token that does not end, for those who ask for one.

Nobody needs them any more: pods get tokens that end, and `kubectl create token` makes others. Who makes such a Secret
gets its token, its namespace and the cluster's authority in it; it goes with its ServiceAccount.
"""

import base64
from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.core import secrets, serviceaccounts
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.controllers._config import Config
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting
from pynetes.pki import tokens

TYPE = "kubernetes.io/service-account-token"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"


def filled(secret: Object, account: Object, root_ca: str, key: tokens.PrivateKey) -> Object | None:
    """The Secret with what it lacks; None when it lacks nothing."""
    metadata, data = secret["metadata"], secret.get("data") or {}
    wanted = {"namespace": metadata["namespace"], "ca.crt": root_ca}
    new = {name: base64.b64encode(text.encode()).decode() for name, text in wanted.items() if text}
    if not data.get("token"):
        new["token"] = base64.b64encode(tokens.sign(_claims(secret, account), key).encode()).decode()
    annotations = {**(metadata.get("annotations") or {}), UID: account["metadata"]["uid"]}
    if all(data.get(name) == text for name, text in new.items()) and annotations == metadata.get("annotations"):
        return None
    return secret | {"data": data | new, "metadata": metadata | {"annotations": annotations}}


def _claims(secret: Object, account: Object) -> Object:
    metadata = account["metadata"]
    return {
        "iss": tokens.LEGACY,
        "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        f"{tokens.PREFIX}namespace": metadata["namespace"],
        f"{tokens.PREFIX}secret.name": secret["metadata"]["name"],
        f"{tokens.PREFIX}service-account.name": metadata["name"],
        f"{tokens.PREFIX}service-account.uid": metadata["uid"],
    }


def _account(secret: Object) -> tuple[str, str]:
    """Name of the ServiceAccount that a Secret is for, and the UID it was filled for, each "" if it says none."""
    annotations = secret["metadata"].get("annotations") or {}
    return annotations.get(NAME, ""), annotations.get(UID, "")


def of_account(lookup: Lookup, account: Object, _old: Object | None) -> Iterator[Key]:
    """A ServiceAccount that came or went wakes the Secrets for it."""
    namespace = account["metadata"]["namespace"]
    for secret in lookup.listed(secrets.RESOURCE, namespace=namespace):
        if secret.get("type") == TYPE and _account(secret)[0] == account["metadata"]["name"]:
            yield Key(namespace, secret["metadata"]["name"])


def controller(config: Config) -> Controller | None:
    """The controller; None when there is no key to sign with."""
    if config.token_key is None:
        return None
    token_key, root_ca = config.token_key, config.root_ca or (lambda: "")

    async def reconcile(ctx: Context, key: Key) -> timedelta | None:
        secret = await ctx.cached(secrets.RESOURCE, key)
        if secret is None or secret.get("type") != TYPE or is_deleting(secret):
            return None
        name, uid = _account(secret)
        # The cache only says when to look: a Secret is never removed by what it says.
        account = await ctx.live(serviceaccounts.RESOURCE, Key(key.namespace, name)) if name else None
        if account is None or (uid and account["metadata"]["uid"] != uid):
            await ctx.delete(secrets.RESOURCE, secret)
            return None
        new = filled(secret, account, root_ca(), token_key())
        if new is not None:
            try:
                await ctx.update(secrets.RESOURCE, new)
            except StatusError as error:
                if error.reason not in ("NotFound", "Conflict"):
                    raise
        return None

    return Controller(
        name="serviceaccount-token-controller",
        reconcile=reconcile,
        itself=True,
        watches=(Watch(secrets.RESOURCE), Watch(serviceaccounts.RESOURCE, keys=of_account)),
        rules=(Rule("secrets", "get,list,watch,update,delete"), Rule("serviceaccounts", "get,list,watch")),
    )
