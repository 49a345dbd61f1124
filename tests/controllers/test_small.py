"""The small controllers, over the fake API: publishers, namespace, protection, budgets, clean-up, mirroring."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pynetes import controllers
from pynetes.apis.batch import jobs
from pynetes.apis.certificates import certificatesigningrequests
from pynetes.apis.core import configmaps, nodes, persistentvolumeclaims, pods, resourcequotas, serviceaccounts
from pynetes.apis.discovery import endpointslices
from pynetes.apis.policy import poddisruptionbudgets
from pynetes.apis.rbac import clusterroles
from pynetes.controllers import Config, disruption, namespace, ttl
from pynetes.machinery.meta import Key, Object
from pynetes.pki import issue
from tests.controllers.harness import START, running


def obj(kind: str, name: str, api_version: str = "v1", **parts: Any) -> Object:
    metadata = {"name": name} | parts.pop("metadata", {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata} | parts


def in_default(kind: str, name: str, api_version: str = "v1", **parts: Any) -> Object:
    metadata = {"namespace": "default"} | parts.pop("metadata", {})
    return obj(kind, name, api_version, metadata=metadata, **parts)


def test_all_controllers_load() -> None:
    """Names are unique and every controller declares its rights."""
    found = controllers.load(Config(root_ca=lambda: "x", allocate_node_cidrs=True, cluster_cidrs=("10.0.0.0/16",)))
    names = [each.name for each in found]
    assert len(set(names)) == len(names) > 25
    assert all(each.rules and each.watches and each.name.endswith("-controller") for each in found)


async def test_every_namespace_gets_account_and_ca() -> None:
    """What is missing or wrong is put right; a dying namespace gets nothing."""
    async with running(
        "serviceaccount", "root-ca-certificate-publisher", config=Config(root_ca=lambda: "PEM")
    ) as world:
        world.api.put(obj("Namespace", "a", spec={}, status={"phase": "Active"}))
        world.api.put(
            obj(
                "Namespace",
                "b",
                metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"},
                status={"phase": "Terminating"},
            )
        )
        await world.settle()
        world.get(serviceaccounts.RESOURCE, "default", "a")
        published = world.get(configmaps.RESOURCE, "kube-root-ca.crt", "a")
        assert published["data"] == {"ca.crt": "PEM"}
        assert len(world.api.listed(serviceaccounts.RESOURCE)) == 1
        world.api.put(published | {"data": {"ca.crt": "forged"}})
        await world.api.client().delete(serviceaccounts.RESOURCE, Key("a", "default"))
        await world.settle()
        world.get(serviceaccounts.RESOURCE, "default", "a")
        assert world.get(configmaps.RESOURCE, "kube-root-ca.crt", "a")["data"] == {"ca.crt": "PEM"}


def test_what_remains_of_a_namespace() -> None:
    """The conditions name what is left and the finalizers that hold it."""
    remains = namespace.Remains()
    held = in_default("ConfigMap", "c", metadata={"finalizers": ["x/y"]})
    namespace.note(remains, configmaps.RESOURCE, [held, held])
    told = {each["type"]: (each["status"], each["message"]) for each in namespace.told([], remains, START)}
    assert told["NamespaceContentRemaining"] == (
        "True",
        "Some resources are remaining: configmaps. has 2 resource instances",
    )
    assert told["NamespaceFinalizersRemaining"] == (
        "True",
        "Some content in the namespace has finalizers remaining: x/y in 2 resource instances",
    )
    assert told["NamespaceDeletionDiscoveryFailure"] == ("False", "All resources successfully discovered")
    assert namespace.told(namespace.told([], remains, START), remains, datetime.now(UTC)) == namespace.told(
        [], remains, START
    )


async def test_claims_in_use_are_kept() -> None:
    """A deleted claim stays until the pod that uses it is over."""
    async with running("persistentvolumeclaim-protection") as world:
        world.api.put(in_default("PersistentVolumeClaim", "data", spec={}))
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
        pod = in_default("Pod", "p", spec={"nodeName": "n", "containers": [], "volumes": volumes})
        world.api.put(pod)
        await world.settle()
        await world.api.client().delete(persistentvolumeclaims.RESOURCE, Key("default", "data"))
        await world.settle()
        assert world.get(persistentvolumeclaims.RESOURCE, "data")["metadata"]["deletionTimestamp"]
        world.api.put(pod | {"status": {"phase": "Succeeded"}})
        await world.settle()
        assert world.api.listed(persistentvolumeclaims.RESOURCE) == []


@pytest.mark.parametrize(
    ("spec", "present", "scale", "expected"),
    [
        ({"minAvailable": 2}, 3, 3, (3, 2)),
        ({"minAvailable": "50%"}, 3, 5, (5, 3)),
        ({"maxUnavailable": 1}, 3, 5, (5, 4)),
        ({"maxUnavailable": "30%"}, 3, 5, (5, 3)),
        ({"maxUnavailable": 9}, 3, 5, (5, 0)),
    ],
)
def test_budget_counts(spec: Object, present: int, scale: int, expected: tuple[int, int]) -> None:
    """How many pods a budget expects, and how many it wants healthy."""
    assert disruption.counts({"spec": spec}, present, scale) == expected


async def test_budget_status() -> None:
    """disruptionsAllowed follows the ready pods, and evictions under way count as gone."""
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    async with running("disruption") as world:
        world.api.put(
            in_default(
                "PodDisruptionBudget",
                "b",
                "policy/v1",
                spec={"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}},
                status={"disruptedPods": {"p0": "2026-01-01T00:00:00Z"}},
            )
        )
        for number in range(3):
            pod = in_default("Pod", f"p{number}", metadata={"labels": {"a": "b"}}, spec={}, status=ready)
            world.api.put(pod)
        await world.settle()
        status = world.get(poddisruptionbudgets.RESOURCE, "b")["status"]
        assert (status["currentHealthy"], status["disruptionsAllowed"]) == (2, 1)
        await world.advance(121)
        status = world.get(poddisruptionbudgets.RESOURCE, "b")["status"]
        assert (status["currentHealthy"], status["disruptionsAllowed"]) == (3, 2)
        assert "disruptedPods" not in status and status["conditions"][0]["reason"] == "SufficientPods"


async def test_finished_jobs_are_deleted_in_time() -> None:
    """Not before ttlSecondsAfterFinished has passed."""
    done = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    async with running("ttl-after-finished") as world:
        world.api.put(in_default("Job", "j", "batch/v1", spec={"ttlSecondsAfterFinished": 60}, status=done))
        await world.settle()
        await world.advance(59)
        assert world.api.listed(jobs.RESOURCE)
        await world.advance(2)
        found = world.api.listed(jobs.RESOURCE)
        assert all(each["metadata"]["deletionTimestamp"] for each in found)


async def test_aggregated_roles() -> None:
    """The rules of labelled roles gather in the aggregated one, each once."""
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    async with running("clusterrole-aggregation") as world:
        selector = {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}]}
        world.api.put(obj("ClusterRole", "view", "rbac.authorization.k8s.io/v1", aggregationRule=selector))
        for name in ("x", "y"):
            labelled = obj("ClusterRole", name, "rbac.authorization.k8s.io/v1", metadata={"labels": {"to": "view"}})
            world.api.put(labelled | {"rules": [rule]})
        await world.settle()
        assert world.get(clusterroles.RESOURCE, "view")["rules"] == [rule]


async def test_endpoints_are_mirrored() -> None:
    """Endpoints of a Service without selector become slices, unless they opt out."""
    async with running("endpointslice-mirroring", "garbage-collector") as world:
        world.api.put(in_default("Service", "ext", spec={}))
        subsets = [{"addresses": [{"ip": "1.2.3.4"}, {"ip": "fd00::1"}], "ports": [{"name": "p", "port": 80}]}]
        made = in_default("Endpoints", "ext", subsets=subsets)
        world.api.put(made)
        await world.settle()
        found = world.api.listed(endpointslices.RESOURCE)
        assert sorted(each["addressType"] for each in found) == ["IPv4", "IPv6"]
        world.api.put(
            in_default("Endpoints", "ext", metadata={"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}})
        )
        await world.settle()
        assert world.api.listed(endpointslices.RESOURCE) == []


def request(common_name: str) -> str:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    made = x509.CertificateSigningRequestBuilder(subject).sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(made.public_bytes(Encoding.PEM)).decode()


@pytest.mark.parametrize(("name", "signed"), [("system:node:n1", True), ("somebody", False)])
async def test_signing(name: str, signed: bool) -> None:
    """An approved request of a kubelet is signed by the CA; another is marked as failed."""
    authority = issue.authority("test", START)
    config = Config(signing=lambda: authority)
    async with running("certificatesigningrequest-signing", config=config) as world:
        spec = {
            "request": request(name),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        }
        approved = {"conditions": [{"type": "Approved", "status": "True"}]}
        world.api.put(obj("CertificateSigningRequest", "r", "certificates.k8s.io/v1", spec=spec, status=approved))
        await world.settle()
        status = world.get(certificatesigningrequests.RESOURCE, "r")["status"]
        assert ("certificate" in status) == signed
        if signed:
            made = x509.load_pem_x509_certificate(base64.b64decode(status["certificate"]))
            made.verify_directly_issued_by(authority.certificate)
            assert made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == name
        else:
            assert status["conditions"][-1]["type"] == "Failed"


async def test_cache_time_grows_with_the_cluster() -> None:
    """Every node is told the same, anew when the number of nodes crosses a step."""
    assert [ttl.seconds(count) for count in (1, 100, 101, 500, 1000, 2000, 5000)] == [0, 0, 15, 15, 30, 60, 300]
    async with running("ttl") as world:
        for number in range(101):
            world.api.put(obj("Node", f"n{number}", spec={}))
        await world.settle()
        told = {node["metadata"]["annotations"][ttl.ANNOTATION] for node in world.api.listed(nodes.RESOURCE)}
        assert told == {"15"}


async def test_quota_follows_what_is_used() -> None:
    """Counts and requests of pods that are not over; given back when they end or go."""
    hard = {"pods": "5", "requests.cpu": "2", "count/configmaps": "9", "secrets": "1"}
    async with running("resourcequota") as world:
        world.api.put(in_default("ResourceQuota", "q", spec={"hard": hard}))
        container = {"name": "c", "resources": {"requests": {"cpu": "250m"}}}
        made = [world.api.put(in_default("Pod", f"p{n}", spec={"containers": [container]})) for n in range(3)]
        world.api.put(in_default("ConfigMap", "c"))
        await world.settle()
        status = world.get(resourcequotas.RESOURCE, "q")["status"]
        assert status == {
            "hard": hard,
            "used": {"pods": "3", "requests.cpu": "750m", "count/configmaps": "1", "secrets": "0"},
        }
        world.api.put(made[0] | {"status": {"phase": "Succeeded"}})
        await world.api.client().delete(pods.RESOURCE, Key("default", "p1"))
        await world.settle()
        counted = world.get(resourcequotas.RESOURCE, "q")["status"]["used"]
        assert (counted["pods"], counted["requests.cpu"]) == ("1", "250m")
