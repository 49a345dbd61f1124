"""Path 3: a pipeline deploys by server-side apply, with a token that is good for one namespace only."""

import json
import tempfile
from pathlib import Path

import yaml

from pynetes.apis.apps import deployments
from pynetes.machinery.meta import Key, Object
from pynetes.paths.check import Check, expect
from pynetes.paths.scene import NAMESPACE, Scene

ACCOUNT = "pipeline"
TOKEN_SECONDS = 600


async def _pipeline(scene: Scene) -> str:
    await scene.namespace()
    token = await scene.token(ACCOUNT, "edit", seconds=TOKEN_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder, "kubeconfig")
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(_as_bearer(scene.site.kubeconfig.read_text(), token))
        try:
            return await _deploy(scene, f"--kubeconfig={kubeconfig}")
        finally:
            await scene.kubectl("-n", NAMESPACE, "delete", "deployment", "delivered", "--ignore-not-found")


def _as_bearer(kubeconfig: str, token: str) -> str:
    document = yaml.safe_load(kubeconfig)
    for user in document["users"]:
        user["user"] = {"token": token}
    return yaml.safe_dump(document)


async def _deploy(scene: Scene, kubeconfig: str) -> str:
    kubectl = (kubeconfig, "-n", NAMESPACE)
    user = json.loads((await scene.kubectl(*kubectl, "auth", "whoami", "-o", "json")).out)["status"]["userInfo"]
    expect(user["username"] == f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}", f"it is {user['username']}")
    apply = ("apply", "--server-side", f"--field-manager={ACCOUNT}", "-f", "-")
    manifest = json.dumps(_deployment(scene.site.shell_image))
    await scene.kubectl(*kubectl, *apply, given=manifest)
    await scene.kubectl(*kubectl, "rollout", "status", "deployment/delivered", "--timeout=50s")
    made = await scene.client.get(deployments.RESOURCE, Key(NAMESPACE, "delivered"))
    owners = [each for each in made["metadata"]["managedFields"] if each["manager"] == ACCOUNT]
    expect(owners and owners[0]["operation"] == "Apply", "the fields are not owned by an Apply of the pipeline")
    refused = await scene.kubectl(kubeconfig, "-n", "kube-system", *apply, given=manifest, check=False)
    expect(refused.code and "forbidden" in refused.err, f"kube-system did not refuse it: {refused.out}{refused.err}")
    return (
        f"{user['username']} by a token for {TOKEN_SECONDS} s; server-side apply owns "
        f"{', '.join(sorted(owners[0]['fieldsV1']['f:spec']))}; {made['status'].get('readyReplicas', 0)} pod ready; "
        f"kube-system: {refused.err.strip().rpartition('forbidden: ')[2][:200]}"
    )


def _deployment(image: str) -> Object:
    labels = {"app": "delivered"}
    container = {"name": "delivered", "image": image, "command": ["sleep", "3600"]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "delivered"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


CHECKS = (Check((3,), _pipeline),)
