"""Path 22: a program in a pod reaches the API server with nothing but what is mounted into every pod."""

import json

from pynetes.apis.core import pods
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.paths.check import Check, expect
from pynetes.paths.scene import NAMESPACE, Scene, eventually

#: Run inside the pod: who am I, by the mounted token, over kubernetes.default.svc, trusting the mounted CA only.
PROGRAM = """
import base64, json, ssl, urllib.request
d = "/var/run/secrets/kubernetes.io/serviceaccount/"
token = open(d + "token").read()
url = "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews"
body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
context = ssl.create_default_context(cafile=d + "ca.crt")
answer = json.load(urllib.request.urlopen(urllib.request.Request(url, body, headers), context=context, timeout=10))
part = token.split(".")[1]
claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
print(json.dumps({"user": answer["status"]["userInfo"]["username"], "aud": claims["aud"],
                  "life": claims["exp"] - claims["iat"], "pod": claims["kubernetes.io"]["pod"]["name"]}))
"""


async def _in_cluster(scene: Scene) -> str:
    await scene.namespace()
    key = Key(NAMESPACE, "client")
    container = {"name": "client", "image": scene.site.python_image, "command": ["python3", "-c", PROGRAM]}
    pod: Object = {"metadata": {"name": key.name}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    try:
        await scene.client.delete(pods.RESOURCE, key, grace=0)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
    await eventually(lambda: _absent(scene, key), "the pod of an earlier run stayed")
    await scene.client.create(pods.RESOURCE, pod, namespace=NAMESPACE)
    phase = ""

    async def ended() -> bool:
        nonlocal phase
        phase = (await scene.client.get(pods.RESOURCE, key)).get("status", {}).get("phase", "")
        return phase in ("Succeeded", "Failed")

    await eventually(ended, "the pod did not end", within=60)
    said = (await scene.kubectl("-n", NAMESPACE, "logs", key.name)).out
    expect(phase == "Succeeded", f"the pod failed: {said[-500:]}")
    found = json.loads(said)
    expect(found["user"] == f"system:serviceaccount:{NAMESPACE}:default", f"the API server saw {found['user']}")
    expect(found["pod"] == key.name, f"the token is bound to {found['pod']}")
    await scene.client.delete(pods.RESOURCE, key, grace=0)
    return (
        f"{found['user']} by a token bound to pod {found['pod']}, audience {', '.join(found['aud'])}, {found['life']} s"
    )


async def _absent(scene: Scene, key: Key) -> bool:
    return await scene.client.find(pods.RESOURCE, key) is None


CHECKS = (Check((22,), _in_cluster),)
