"""The same cluster with the local cloud: balancers that answer, metadata for nodes only, instances that go."""

import json
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import NAME, Cluster, pynetes

pytestmark = pytest.mark.e2e

HOME = Path(f"/var/lib/pynetes/{NAME}/cloud")
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: balanced}
spec:
  replicas: 3
  selector: {matchLabels: {app: balanced}}
  template:
    metadata: {labels: {app: balanced}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: topology.kubernetes.io/zone
        whenUnsatisfiable: ScheduleAnyway
        labelSelector: {matchLabels: {app: balanced}}
      containers:
      - name: web
        image: pynetes.io/busybox:1.35
        command: [sh, -c, "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {type: LoadBalancer, selector: {app: balanced}, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.fixture(scope="module")
def cloud(cluster: Cluster) -> Cluster:
    """Three nodes in the cloud, and something behind a balancer."""
    pynetes("up", "--cluster", NAME, "--nodes", "3", "--cloud", "local")
    cluster.run("apply", "-f", "-", text=WEB)
    cluster.run("rollout", "status", "deployment/balanced", "--timeout=90s")
    return cluster


def api(method: str, path: str, body: object = None) -> Any:
    """A request to the cloud's API, as its administrator."""
    context = ssl.create_default_context(cafile=str(HOME / "ca.crt"))
    headers = {"Authorization": f"Bearer {(HOME / 'administrator.token').read_text()}"}
    endpoint = next(
        line.partition(" ")[2] for line in (HOME / "cloud-config.yaml").read_text().splitlines() if "endpoint" in line
    )
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(endpoint + path, method=method, headers=headers, data=data)
    with urllib.request.urlopen(request, context=context, timeout=60) as answer:
        return json.load(answer)


def eventually(holds: Any, seconds: float = 90) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not come to hold"
        time.sleep(0.2)


def fetched(address: str) -> str:
    """What answers there, "" when nothing does."""
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=3) as answer:
            return str(answer.read().decode()).strip()
    except OSError:
        return ""


def address_of(cluster: Cluster) -> str:
    """The balancer's address, "" while there is none."""
    ingress = cluster.json("get", "service", "balanced")["status"].get("loadBalancer", {}).get("ingress", [])
    return str(ingress[0]["ip"]) if ingress else ""


def test_the_paths_to_the_cloud(cloud: Cluster) -> None:
    """19, 26 and 27, each with its evidence."""
    said = pynetes("paths", "verify", "19", "26", "27", "--cluster", NAME).stdout
    assert "3 passed" in said


def test_a_balancer_answers_from_the_machine_for_all_pods(cloud: Cluster) -> None:
    """One address, every pod behind it."""
    eventually(lambda: address_of(cloud))
    seen: set[str] = set()

    def all_seen() -> bool:
        seen.add(fetched(address_of(cloud)))
        return len(seen - {""}) == 3

    eventually(all_seen, 30)


def test_who_may_connect_and_where_traffic_goes(cloud: Cluster) -> None:
    """Source ranges close it to the machine; externalTrafficPolicy Local sends to nodes that have pods."""
    patch = {"spec": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}}
    cloud.run("patch", "service", "balanced", "-p", json.dumps(patch))
    eventually(lambda: not fetched(address_of(cloud)), 20)
    patch = {"spec": {"loadBalancerSourceRanges": None, "externalTrafficPolicy": "Local"}}
    cloud.run("patch", "service", "balanced", "-p", json.dumps(patch))
    eventually(lambda: fetched(address_of(cloud)), 20)
    patch = {"spec": {"externalTrafficPolicy": "Cluster"}}
    cloud.run("patch", "service", "balanced", "-p", json.dumps(patch))
    eventually(lambda: fetched(address_of(cloud)), 20)


ASK = """
import urllib.request as u
ask = u.Request("http://169.254.169.254/latest/api/token", method="PUT",
                headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
token = u.urlopen(ask, timeout=3).read().decode()
about = u.Request("http://169.254.169.254/latest/meta-data/instance-id", headers={"X-aws-ec2-metadata-token": token})
print(u.urlopen(about, timeout=3).read().decode())
"""


def test_pods_reach_the_metadata_service_only_when_they_may(cloud: Cluster) -> None:
    """Refused by the node; with the way open the token's answer dies after one hop; with two hops it arrives."""
    node = f"{NAME}-node-2"
    machine = next(each for each in api("GET", "/v1/instances")["items"] if each["name"] == node)
    spec = {"spec": {"nodeName": node, "terminationGracePeriodSeconds": 0}}
    cloud.run(
        "run", "asker", "--image=pynetes.io/pynetes:0.1.0", f"--overrides={json.dumps(spec)}",
        "--command", "--", "python3", "-c", "import time; time.sleep(3600)",
    )  # fmt: skip
    cloud.run("wait", "--for=condition=Ready", "pod/asker", "--timeout=60s")
    options = f"/v1/instances/{machine['id']}/metadata-options"
    try:
        assert "No route to host" in cloud.run("exec", "asker", "--", "python3", "-c", ASK, check=False)
        api("PUT", options, {"openToPods": True})
        assert "timed out" in cloud.run("exec", "asker", "--", "python3", "-c", ASK, check=False)
        api("PUT", options, {"hopLimit": 2})
        assert cloud.run("exec", "asker", "--", "python3", "-c", ASK).strip() == machine["id"]
    finally:
        api("PUT", options, {"openToPods": False, "hopLimit": 1})
        cloud.run("delete", "pod", "asker", "--wait=false")


CREDENTIALS = """
from botocore import credentials, utils
fetcher = utils.InstanceMetadataFetcher(timeout=5, num_attempts=1, config={"ec2_metadata_v1_disabled": True})
found = credentials.InstanceMetadataProvider(fetcher).load()
print(found.method, found.access_key, found._expiry_time.isoformat())
"""


def test_the_sdk_finds_its_credentials_on_a_node(cloud: Cluster) -> None:
    """The AWS SDK's own instance provider, with nothing told to it, against the service on 169.254.169.254."""
    inside = ["nsenter", f"--net=/run/netns/pynetes-{NAME}-2", sys.executable, "-c", CREDENTIALS]
    said = subprocess.run(inside, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("iam-role ASIA")


DISK = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk}
spec: {accessModes: [ReadWriteOnce], storageClassName: cloud, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: pynetes.io/busybox:1.35
    command: [sh, -c, "cat /data/file; echo kept > /data/file; sync; exec sleep 3600"]
    readinessProbe: {exec: {command: [test, -s, /data/file]}, periodSeconds: 1}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: disk}}]
"""


def test_a_disk_of_the_cloud_follows_its_claim(cloud: Cluster) -> None:
    """Made in the pod's zone, attached to the pod's instance, grown, kept from one pod to the next, and removed."""

    def written(before: str, size: str) -> None:
        cloud.run("apply", "-f", "-", text=DISK.replace("1Gi", size))
        cloud.run("wait", "--for=condition=Ready", "pod/writer", "--timeout=90s")
        eventually(lambda: before in cloud.run("logs", "writer", check=False), 20)

    written("No such file", "1Gi")
    (disk,) = api("GET", "/v1/volumes")["items"]
    node = cloud.json("get", "pod", "writer")["spec"]["nodeName"]
    (instance,) = [each for each in api("GET", "/v1/instances")["items"] if each["id"] in disk["attached"]]
    assert instance["name"] == node and instance["zone"] == disk["zone"]
    cloud.run("patch", "pvc", "disk", "-p", '{"spec": {"resources": {"requests": {"storage": "2Gi"}}}}')
    eventually(lambda: api("GET", f"/v1/volumes/{disk['id']}")["size"] == 2 << 30, 30)
    cloud.run("delete", "pod", "writer")
    written("kept", "2Gi")
    eventually(lambda: cloud.json("get", "pvc", "disk")["status"]["capacity"]["storage"] == "2Gi", 30)
    refused = cloud.run(
        "patch", "pvc", "disk", "-p", '{"spec": {"resources": {"requests": {"storage": "1Gi"}}}}', check=False
    )
    assert cloud.json("get", "pvc", "disk")["spec"]["resources"]["requests"]["storage"] == "2Gi", refused
    cloud.run("delete", "pod", "writer")
    cloud.run("delete", "pvc", "disk")
    eventually(lambda: not api("GET", "/v1/volumes")["items"], 60)


def test_an_instance_that_is_deleted_takes_its_node_along_and_pods_move(cloud: Cluster) -> None:
    """Through the provider's API; the balancer goes on answering; the next `up` makes the node anew."""
    node = f"{NAME}-node-3"
    machine = next(each for each in api("GET", "/v1/instances")["items"] if each["name"] == node)
    api("DELETE", f"/v1/instances/{machine['id']}")
    eventually(lambda: node not in cloud.run("get", "nodes", "-o", "name"), 120)
    cloud.run("rollout", "status", "deployment/balanced", "--timeout=60s")
    pods = cloud.json("get", "pods", "-l", "app=balanced")["items"]
    assert node not in {pod["spec"]["nodeName"] for pod in pods}
    eventually(lambda: fetched(address_of(cloud)), 20)
    pynetes("up", "--cluster", NAME)
    made = cloud.json("get", "node", node)
    assert machine["id"] not in made["spec"]["providerID"]


def test_the_balancer_goes_with_its_service(cloud: Cluster) -> None:
    """Nothing of it stays in the cloud."""
    cloud.run("delete", "service", "balanced", "--timeout=30s")
    cloud.run("delete", "deployment", "balanced", "--wait=false")
    assert not [each for each in api("GET", "/v1/load-balancers")["items"] if "balanced" in str(each["tags"])]
