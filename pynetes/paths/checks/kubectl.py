"""Path 1: the official kubectl reads, writes and streams as the administrator."""

import json

from pynetes.paths.check import Check, expect
from pynetes.paths.scene import NAMESPACE, Scene
from pynetes.pki import kubeconfig


async def _kubectl(scene: Scene) -> str:
    version = json.loads((await scene.kubectl("version", "-o", "json")).out)
    user = json.loads((await scene.kubectl("auth", "whoami", "-o", "json")).out)["status"]["userInfo"]
    certificate = kubeconfig.certificate(scene.site.kubeconfig.read_bytes())
    pod = (await scene.pods())[0]["metadata"]["name"]
    echoed = (await scene.kubectl("-n", NAMESPACE, "exec", "-i", pod, "--", "cat", given="through a stream")).out
    expect(echoed == "through a stream", f"exec brought back {echoed!r}")
    return (
        f"kubectl {version['clientVersion']['gitVersion']} with {version['serverVersion']['gitVersion']} as "
        f"{user['username']} (groups {', '.join(user.get('groups', ()))}); certificate "
        f"{certificate.subject.rfc4514_string()} by {certificate.issuer.rfc4514_string()} until "
        f"{certificate.not_valid_after_utc:%Y-%m-%d}; exec streamed in and out of {pod}"
    )


CHECKS = (Check((1,), _kubectl),)
