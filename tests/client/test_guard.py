"""Who may read a component's metrics."""

import aiohttp

from pynetes.apis.core import serviceaccounts
from pynetes.apis.rbac import clusterrolebindings, clusterroles
from pynetes.client import guard
from pynetes.component import serving
from pynetes.component.clock import SystemClock
from pynetes.component.health import Checks
from pynetes.machinery.meta import Key
from pynetes.testing.cluster import Cluster


async def test_metrics_are_for_those_who_may_and_health_is_for_all(cluster: Cluster) -> None:
    """Without a token or with somebody else's: refused. With the right to get /metrics: answered."""
    app = serving.application(Checks())
    app.middlewares.append(guard.middleware(cluster.client, SystemClock()))
    tokens = {name: await token_of(cluster, name) for name in ("reader", "stranger")}
    rule = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    await cluster.client.create(clusterroles.RESOURCE, {"metadata": {"name": "reader"}, "rules": [rule]})
    subject = {"kind": "ServiceAccount", "namespace": "kube-system", "name": "reader"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"}
    binding = {"metadata": {"name": "reader"}, "roleRef": role, "subjects": [subject]}
    await cluster.client.create(clusterrolebindings.RESOURCE, binding)
    async with serving.serve(app) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        asked = {}
        for name, token in {"nobody": "", "liar": "nonsense", **tokens}.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with session.get("/metrics", headers=headers) as answer:
                asked[name] = answer.status
        async with session.get("/healthz") as answer:
            assert answer.status == 200
    assert asked == {"nobody": 403, "liar": 401, "reader": 200, "stranger": 403}


async def token_of(cluster: Cluster, name: str) -> str:
    """A new ServiceAccount's in kube-system."""
    await cluster.client.create(serviceaccounts.RESOURCE, {"metadata": {"name": name, "namespace": "kube-system"}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {}}
    key = Key("kube-system", name)
    answer = await cluster.client.create(serviceaccounts.RESOURCE, request, key=key, subresource="token")
    return str(answer["status"]["token"])
