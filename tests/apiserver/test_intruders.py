"""Whole requests of those who want around authentication, authorization and the record, at a server as `up` runs it."""

import gc
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pynetes.machinery.meta import Object
from tests.apiserver.harness import API, Asked, api, configmap

TOKENS = """\
root,root,1,system:masters
alice,alice,2,
n1,system:node:n1,3,system:nodes
"""
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/a"
SECRETS, PODS = "/api/v1/namespaces/a/secrets", "/api/v1/namespaces/a/pods"
MIRROR = "kubernetes.io/config.mirror"
POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "RequestResponse"}]}


class Shop(API):
    """A server with the namespaces a and b; everybody's token is a name."""

    log: Path

    async def by(self, who: str, method: str, path: str, body: bytes | Object = b"", **headers: str) -> Asked:
        """One request."""
        return await self.ask(method, path, body, authorization=f"Bearer {who}", **headers)

    async def root(self, path: str, body: Object) -> Object:
        """Something that an administrator made."""
        made = await self.by("root", "POST", path, body)
        assert made.status == 201, made.raw
        return made.body

    async def grant(self, *rules: Object) -> None:
        """Let alice do this in the namespace a."""
        await self.root(f"{RBAC}/roles", {"metadata": {"name": "alices"}, "rules": list(rules)})
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "alices"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}
        binding = {"metadata": {"name": "alices"}, "roleRef": ref, "subjects": [subject]}
        await self.root(f"{RBAC}/rolebindings", binding)
        # A list waits until the cache, by which authorization decides too, has all that was written.
        await self.by("root", "GET", f"{RBAC}/rolebindings")


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    (tmp_path / "tokens.csv").write_text(TOKENS)
    (tmp_path / "policy.yaml").write_text(json.dumps(POLICY))
    config: dict[str, Any] = {
        "token_auth_file": str(tmp_path / "tokens.csv"),
        "authorization_mode": ("Node", "RBAC"),
        "enable_admission_plugins": ("NodeRestriction",),
        "disable_admission_plugins": ("ServiceAccount",),
        "audit_policy_file": str(tmp_path / "policy.yaml"),
        "audit_log_path": str(tmp_path / "audit.log"),
    }
    async with api(**config) as server:
        made = Shop(server.server)
        made.log = tmp_path / "audit.log"
        for name in ("a", "b"):
            await made.root("/api/v1/namespaces", {"metadata": {"name": name}})
        await made.root(SECRETS, {"metadata": {"name": "mine"}, "stringData": {"k": "v"}})
        await made.root(SECRETS, {"metadata": {"name": "other"}, "stringData": {"k": "v"}})
        yield made


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/namespaces/a/namespaces/b"),
        ("GET", "/api/v1/namespaces/a/namespaces"),
        ("GET", "/api/v1/watch/namespaces/a/namespaces"),
        ("POST", "/api/v1/namespaces/a/namespaces"),
        ("PUT", "/api/v1/namespaces/a/namespaces/b/finalize"),
        ("DELETE", "/api/v1/namespaces/a/namespaces/b"),
        ("DELETE", "/api/v1/namespaces/a/namespaces"),
        ("GET", "/api/v1/namespaces/a/nodes"),
        ("DELETE", "/api/v1/namespaces/a/nodes/n1"),
        ("POST", "/api/v1/namespaces/a/persistentvolumes"),
    ],
)
async def test_all_of_a_namespace_is_nothing_outside_of_it(shop: Shop, method: str, path: str) -> None:
    """A Role that allows everything in one namespace reaches no other, and nothing that lies in none."""
    await shop.grant({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
    asked = await shop.by("alice", method, path, {"metadata": {"name": "x"}} if method in ("POST", "PUT") else b"")
    assert (asked.status, asked.body["reason"]) == (404, "NotFound"), asked.raw
    found = await shop.by("root", "GET", "/api/v1/namespaces/b")
    assert found.body["status"]["phase"] == "Active"
    assert (await shop.by("alice", "GET", "/api/v1/namespaces/a")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        f"{SECRETS}/other",
        SECRETS,
        f"{SECRETS}?fieldSelector=metadata.name!=x",
        f"{SECRETS}?fieldSelector=metadata.name!=x%5C,metadata.name=mine",
        f"{SECRETS}?fieldSelector=metadata.name!=x%5C,metadata.name%5C=mine",
        f"{SECRETS}?fieldSelector=metadata.name%3Dother&fieldSelector=metadata.name%3Dmine",
        f"{SECRETS}/mine/../other",
        f"{SECRETS}//mine",
        "/api/v1/watch/namespaces/a/secrets",
        "/api/v1/watch/namespaces/a/secrets/other",
        "/api/v1/namespaces//secrets/mine",
        "/api/v1/namespaces//secrets?fieldSelector=metadata.name%3Dmine",
        "/api/v1/secrets?fieldSelector=metadata.name%3Dmine",
        "//api/v1/secrets",
        "/api//v1/secrets",
    ],
)
async def test_a_right_to_one_name_shows_no_other(shop: Shop, path: str) -> None:
    """However the request is written: what authorization reads out of it is what the endpoint does."""
    rule = {"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine"]}
    await shop.grant(rule)
    asked = await shop.by("alice", "GET", path)
    assert asked.status in (400, 403, 404), asked.raw
    listed = await shop.by("alice", "GET", f"{SECRETS}?fieldSelector=metadata.name%3Dmine,metadata.name%3Dmine")
    assert [item["metadata"]["name"] for item in listed.body["items"]] == ["mine"]


@pytest.mark.parametrize("subresource", ["exec?command=sh&stdout=1", "attach?stdout=1", "portforward?ports=1"])
async def test_reading_is_no_right_to_run(shop: Shop, subresource: str) -> None:
    """A WebSocket begins as a GET: the verb get alone opens no shell, no output and no port."""
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await shop.root(PODS, pod)
    kinds = ["pods/exec", "pods/attach", "pods/portforward", "pods/log"]
    await shop.grant({"verbs": ["get"], "apiGroups": [""], "resources": kinds})
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_protocol": "v5.channel.k8s.io"}
    asked = await shop.by("alice", "GET", f"{PODS}/p/{subresource}", **upgrade, sec_websocket_key="x")
    assert asked.status == 403
    assert 'cannot create resource "pods/' in asked.body["message"]
    # Nor does one of these rights bring another.
    assert (await shop.by("alice", "POST", f"{PODS}/p/{subresource}")).status == 403
    assert (await shop.by("alice", "GET", f"{PODS}/p/proxy/")).status == 403


async def test_reading_from_nodes_runs_nothing_there(shop: Shop) -> None:
    """get on nodes/proxy reads metrics. A shell, with the API server's own rights at the kubelet, is none of it."""
    group = "rbac.authorization.k8s.io"
    address = {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}
    await shop.root("/api/v1/nodes", {"metadata": {"name": "n1"}, "status": address})
    rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes/proxy"]}
    await shop.root(f"/apis/{group}/v1/clusterroles", {"metadata": {"name": "reader"}, "rules": [rule]})
    subject = {"apiGroup": group, "kind": "User", "name": "alice"}
    ref = {"apiGroup": group, "kind": "ClusterRole", "name": "reader"}
    binding = {"metadata": {"name": "reader"}, "roleRef": ref, "subjects": [subject]}
    await shop.root(f"/apis/{group}/v1/clusterrolebindings", binding)
    await shop.by("root", "GET", f"/apis/{group}/v1/clusterrolebindings")
    for upgrade in ("websocket", "SPDY/3.1"):
        for path in ("exec/a/p/c", "run/a/p/c", "attach/a/p/c", "portForward/a/p", "/exec/a/p/c", "x/../exec/a/p/c"):
            target = f"/api/v1/nodes/n1/proxy/{path}?command=id&output=1"
            asked = await shop.by("alice", "GET", target, connection="keep-alive, Upgrade", upgrade=upgrade)
            assert asked.status == 403 and 'cannot create resource "nodes/proxy"' in asked.body["message"], asked.raw


async def test_a_node_makes_itself_no_right_to_a_secret(shop: Shop) -> None:
    """By no reference of a mirror pod, nor by taking away the mark by which it gives no rights."""
    await shop.root("/api/v1/nodes", {"metadata": {"name": "n1"}})

    def mirror(name: str, **spec: object) -> Object:
        container = {"name": "c", "image": "i"}
        metadata = {"name": name, "annotations": {MIRROR: "x"}}
        return {"metadata": metadata, "spec": {"nodeName": "n1", "containers": [container], **spec}}

    for spec in (
        {"imagePullSecrets": [{"name": "mine"}]},
        {"volumes": [{"name": "v", "secret": {"secretName": "mine"}}]},
        {"volumes": [{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "mine"}}}]},
        {"volumes": [{"name": "v", "azureFile": {"secretName": "mine", "shareName": "s"}}]},
        {"volumes": [{"name": "v", "iscsi": _ISCSI}]},
    ):
        refused = await shop.by("n1", "POST", PODS, mirror("m", **spec))
        assert refused.status == 403 and "reference secrets" in refused.body["message"], refused.raw
    # One that an administrator made, so that only the mark stands in between.
    made = await shop.root(PODS, mirror("m", imagePullSecrets=[{"name": "mine"}]))
    assert (await shop.by("n1", "GET", f"{SECRETS}/mine")).status == 403
    made["metadata"]["annotations"] = {}
    for path in (f"{PODS}/m", f"{PODS}/m/status"):
        assert (await shop.by("n1", "PUT", path, made)).status in (403, 422), path
    patch = {"metadata": {"annotations": {MIRROR: None}}}
    merge = "application/merge-patch+json"
    asked = await shop.by("n1", "PATCH", f"{PODS}/m/status", json.dumps(patch).encode(), content_type=merge)
    assert asked.status == 422 and "may not remove or update mirror pod annotation" in asked.body["message"]
    assert (await shop.by("n1", "GET", f"{SECRETS}/mine")).status == 403


_ISCSI = {"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2020-01.org.example:x", "lun": 0, "secretRef": {"name": "mine"}}


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"DeleteOptions","apiVersion":"v1","x":' + b"[" * 300 + b"]" * 300 + b"}",
        b"kind: DeleteOptions\napiVersion: v1\nx: 99999999999999999999999999\n",
    ],
    ids=["nested", "number"],
)
async def test_no_body_keeps_a_deed_out_of_the_record(shop: Shop, body: bytes) -> None:
    """What can be read but not written is left out of the event, with a note; the event is there."""
    await shop.root("/api/v1/namespaces/a/configmaps", configmap("evidence"))
    path = "/api/v1/namespaces/a/configmaps/evidence"
    media = "application/json" if body.startswith(b"{") else "application/yaml"
    assert (await shop.by("root", "DELETE", path, body, content_type=media)).status == 200
    found = [json.loads(line) for line in shop.log.read_text().splitlines()]
    (done,) = [one for one in found if one["verb"] == "delete" and one["stage"] == "ResponseComplete"]
    assert done["objectRef"]["name"] == "evidence" and done["responseStatus"]["code"] == 200
    assert "requestObject" in done["annotations"]["audit.pynetes.io/omitted"]
    assert done["annotations"]["authorization.k8s.io/decision"] == "allow"


@pytest.mark.parametrize(
    "token",
    ["[" * 100_000, "a.b.c", "...", "x.W10=.y", "x." + "W" * 60_000 + ".y", "\u00ff.\u00ff.\u00ff", "n1 ", "root\x00"],
)
async def test_nonsense_is_nobodys_token(shop: Shop, token: str) -> None:
    """401 as for any other, never an error of the server's own."""
    asked = await shop.by(token if token.strip() != "n1" else "n1x", "GET", SECRETS)
    assert asked.status == 401


GRANTS = (
    ("clusterroles", {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]}, {}),
    ("clusterroles", {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}, "rules": []}, {}),
    (
        "clusterroles",
        {"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]},
        {"rbac.authorization.k8s.io/aggregate-to-view": "true"},
    ),
    ("clusterroles", {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]}, {}),
    (
        "clusterrolebindings",
        {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}},
        {},
    ),
)


@pytest.mark.parametrize(("plural", "parts", "labels"), GRANTS)
async def test_nobody_makes_himself_more_than_he_is(shop: Shop, plural: str, parts: Object, labels: Object) -> None:
    """By no way of writing: create, replace, three kinds of patch, apply on what is there and on what is not."""
    group = "rbac.authorization.k8s.io"
    base = f"/apis/{group}/v1/{plural}"
    writer = {"verbs": ["get", "create", "update", "patch"], "apiGroups": [group], "resources": ["*"]}
    await shop.root(f"/apis/{group}/v1/clusterroles", {"metadata": {"name": "writer"}, "rules": [writer]})
    alice = [{"apiGroup": group, "kind": "User", "name": "alice"}]
    ref = {"apiGroup": group, "kind": "ClusterRole", "name": "writer"}
    await shop.root(
        f"/apis/{group}/v1/clusterrolebindings", {"metadata": {"name": "w"}, "roleRef": ref, "subjects": alice}
    )
    harmless = {"metadata": {"name": "x"}, **({"rules": []} if plural == "clusterroles" else {"roleRef": ref})}
    await shop.root(base, harmless)
    await shop.by("root", "GET", base)
    kind = {"clusterroles": "ClusterRole", "clusterrolebindings": "ClusterRoleBinding"}[plural]
    typed = {"apiVersion": f"{group}/v1", "kind": kind}
    wanted = {**parts, **({"subjects": alice} if "roleRef" in parts else {})}
    full = {**typed, "metadata": {"name": "x", "labels": labels}, **wanted}
    fresh = {**full, "metadata": {"name": "y", "labels": labels}}
    operations = [{"op": "add", "path": f"/{name}", "value": value} for name, value in wanted.items()]
    attempts = [
        ("POST", base, fresh, "application/json"),
        ("PUT", f"{base}/x", full, "application/json"),
        ("PATCH", f"{base}/x", wanted, "application/merge-patch+json"),
        ("PATCH", f"{base}/x", wanted, "application/strategic-merge-patch+json"),
        ("PATCH", f"{base}/x", operations, "application/json-patch+json"),
        ("PATCH", f"{base}/x?fieldManager=a&force=true", full, "application/apply-patch+yaml"),
        ("PATCH", f"{base}/y?fieldManager=a", fresh, "application/apply-patch+yaml"),
    ]
    for method, path, body, media in attempts:
        asked = await shop.by("alice", method, path, json.dumps(body).encode(), content_type=media)
        # A roleRef can't be changed by anybody.
        assert asked.status == 403 or (asked.status == 422 and "roleRef" in parts), (method, media, asked.raw)


async def test_reviews_tell_everybody_about_himself_only(shop: Shop) -> None:
    """Who I am and what I may is mine to ask; what others may, and whose a token is, needs a right."""
    group = "/apis/authorization.k8s.io/v1"
    await shop.grant({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]})
    me = await shop.by("alice", "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert me.body["status"]["userInfo"]["username"] == "alice"
    question = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "a"}}
    for namespace, allowed in (("a", True), ("b", False)):
        question["resourceAttributes"]["namespace"] = namespace
        asked = await shop.by("alice", "POST", f"{group}/selfsubjectaccessreviews", {"spec": question})
        assert asked.body["status"]["allowed"] is allowed
    rules = await shop.by("alice", "POST", f"{group}/selfsubjectrulesreviews", {"spec": {"namespace": "a"}})
    assert ["pods"] in [rule["resources"] for rule in rules.body["status"]["resourceRules"]]
    about = {"spec": {"user": "root", **question}}
    for path in (f"{group}/subjectaccessreviews", f"{group}/namespaces/a/localsubjectaccessreviews"):
        assert (await shop.by("alice", "POST", path, about)).status == 403
    review = {"spec": {"token": "root"}}
    assert (await shop.by("alice", "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)).status == 403


async def test_whoever_is_nobody_finds_out_nothing(shop: Shop) -> None:
    """Without credentials what is there and what is not look the same."""
    there = await shop.ask("GET", f"{SECRETS}/mine")
    absent = await shop.ask("GET", f"{SECRETS}/absent")
    assert there.status == absent.status == 403
    assert there.body["message"].replace("mine", "absent") == absent.body["message"]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.1.2.3", "0.0.0.0", "169.254.169.254", "::1", "::", "fe80::1", "::ffff:127.0.0.1",
     "::ffff:169.254.169.254", "::ffff:7f00:1", "2130706433", "0x7f000001", "127.1", "0177.0.0.1"],
)  # fmt: skip
async def test_no_address_that_users_write_is_the_machines_own(shop: Shop, address: str) -> None:
    """Endpoints are dialled by webhooks, aggregation, proxies and kube-proxy, external addresses by kube-proxy."""
    slice_ = {
        "metadata": {"name": "x"},
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"port": 443}],
    }
    subset = {"addresses": [{"ip": address}], "ports": [{"port": 443}]}
    for path, body in (
        ("/apis/discovery.k8s.io/v1/namespaces/a/endpointslices", slice_),
        ("/api/v1/namespaces/a/endpoints", {"metadata": {"name": "x"}, "subsets": [subset]}),
        (
            "/api/v1/namespaces/a/services",
            {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 80}], "externalIPs": [address]}},
        ),
    ):
        asked = await shop.by("root", "POST", path, body)
        assert asked.status == 422, (path, asked.raw)


async def test_long_names_fill_no_memory(shop: Shop) -> None:
    """What is decided about a made-up name of a hundred kilobytes is decided again the next time."""
    await shop.grant({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]})
    for number in range(3):
        long = "x" * 100_000 + str(number)
        for path in (f"{PODS}/{long}", f"/api/v1/namespaces/{long}/pods/p", f"/{long}"):
            assert (await shop.by("alice", "GET", path)).status in (403, 404)
            assert (await shop.by("nobody", "GET", path)).status == 401
    kept = 0
    for found in gc.get_objects():
        if isinstance(found, dict):
            kept += sum(1 for key in tuple(found) if isinstance(key, tuple) and _longest(key) > 50_000)
    assert kept == 0


def _longest(key: tuple[object, ...]) -> int:
    return max(
        (len(part) if isinstance(part, str) else _longest(part) if isinstance(part, tuple) else 0 for part in key),
        default=0,
    )


@pytest.mark.parametrize(
    ("method", "media", "path"),
    [
        ("PUT", "application/json", "/apis/coordination.k8s.io/v1/namespaces/a/leases/new"),
        (
            "PATCH",
            "application/apply-patch+yaml",
            "/apis/coordination.k8s.io/v1/namespaces/a/leases/new?fieldManager=m",
        ),
    ],
)
async def test_who_may_update_may_not_create(shop: Shop, method: str, media: str, path: str) -> None:
    """A PUT or an apply that finds nothing creates, which is a right of its own; nothing comes to be."""
    await shop.grant({"verbs": ["get", "update", "patch"], "apiGroups": ["*"], "resources": ["*"]})
    body: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "new"}}
    refused = await shop.by("alice", method, path, body, content_type=media)
    assert refused.status == 403
    assert refused.body["message"] == (
        'leases.coordination.k8s.io "new" is forbidden: User "alice" cannot create resource "leases"'
        ' in API group "coordination.k8s.io" in the namespace "a"'
    )
    assert (await shop.by("root", "GET", path.partition("?")[0])).status == 404
    assert (await shop.by("root", method, path, body, content_type=media)).status == 201
