"""Path 2: a person looks, edits, scales, reads a log and opens a terminal through the dashboard, as RBAC allows it."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp

from pynetes.apis.apps import deployments
from pynetes.apis.core import services
from pynetes.machinery.meta import Key, Object
from pynetes.paths.check import Absent, Check, expect
from pynetes.paths.scene import NAMESPACE, Scene, eventually

VIEWER = "viewer"
TOKEN_SECONDS = 600
GUARD = "X-Pynetes-Guard"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
APPLY = "application/apply-patch+yaml"
#: Written to the container's output from the terminal, and read from its log.
LINE = "seen-through-the-dashboard"
EDITED = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/edited"


class _Page:
    """What a browser does: it has a cookie that it cannot read, and the secret that its page was given."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url, self.guard, self.http = url, "", http

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and answer, JSON or text. Header names have _ for -."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = json.dumps(body) if body is not None else None
        sent.setdefault("Content-Type", "application/json")
        async with self.http.request(method, self.url + path, data=data, headers=sent) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    async def good(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer, which must be a success."""
        status, answer = await self.ask(method, path, body, X_Pynetes_Guard=self.guard, **headers)
        expect(status < 300, f"{method} {path} answered {status}: {answer}")
        return answer


@contextlib.asynccontextmanager
async def _open(url: str) -> AsyncIterator[_Page]:
    # Its certificate is of its own making; what is checked here is the path behind it.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connector, jar = aiohttp.TCPConnector(ssl=context), aiohttp.CookieJar(unsafe=True)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=timeout) as http:
        yield _Page(url, http)


async def _dashboard(scene: Scene) -> str:
    service = await scene.client.find(services.RESOURCE, Key("kube-system", "dashboard"))
    if service is None:
        raise Absent("the cluster has no dashboard; `pynetes up --with dashboard` adds it")
    await eventually(lambda: _available(scene), "the dashboard's pod is not available", within=60)
    web = (await scene.pods())[0]["metadata"]["name"]
    token = await scene.token(VIEWER, "edit", seconds=TOKEN_SECONDS)
    url = f"https://{service['spec']['clusterIP']}"
    try:
        async with _open(url) as page:
            status, _ = await page.ask("GET", "/api/v1/pods")
            expect(status == 401, f"without a session it answered {status}")
            session = await page.good("POST", "/session", {"credential": token})
            page.guard, user = session["guard"], session["user"]["username"]
            expect(user == f"system:serviceaccount:{NAMESPACE}:{VIEWER}", f"it let in {user}")
            seen = await _look(page)
            edited = await _edit(page, scene.site.shell_image)
            said = await _exec(page, web)
            log = await _log(page, web)
            refused = await _refused(page)
    finally:
        await scene.kubectl("-n", NAMESPACE, "delete", "deployment", "edited", "--ignore-not-found")
    own = await _own_rights(scene)
    return f"{user} at {url}: {seen}; {edited}; {said}; {log}; {refused}; {own}"


async def _available(scene: Scene) -> bool:
    found = await scene.client.find(deployments.RESOURCE, Key("kube-system", "dashboard"))
    ready = bool(found and (found.get("status") or {}).get("availableReplicas"))
    if not ready:
        await asyncio.sleep(0.2)
    return ready


async def _look(page: _Page) -> str:
    """The list as a table, and its changes by watch on the page's WebSocket."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    table = await page.good("GET", path, Accept=TABLE)
    expect(table["kind"] == "Table" and len(table["rows"]) >= 2, f"the list is {table}")
    target = f"/api/v1/namespaces/{NAMESPACE}/configmaps?watch=1"
    async with page.http.ws_connect(f"{page.url}/live", headers={"Origin": page.url}) as live:
        await live.send_json({"open": 1, "target": target})
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "seen-"}}
        made = await page.good("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", body)
        async with asyncio.timeout(10):
            while made["metadata"]["name"] not in await live.receive_str():
                pass
    return f"{len(table['rows'])} pods listed, a change seen by watch"


async def _edit(page: _Page, image: str) -> str:
    """Server-side apply makes a Deployment, its scale is changed, and a conflict names who owns the field."""
    labels = {"app": "edited"}
    container = {"name": "edited", "image": image, "command": ["sleep", "3600"]}
    body: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "edited"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    await page.good("PATCH", f"{EDITED}?fieldManager=pynetes-dashboard", body, Content_Type=APPLY)
    scale = {"spec": {"replicas": 1}}
    merge = "application/merge-patch+json"
    scaled = await page.good("PATCH", f"{EDITED}/scale?fieldManager=scaler", scale, Content_Type=merge)
    expect(scaled["spec"]["replicas"] == 1, f"the scale is {scaled['spec']}")
    status, answer = await page.ask(
        "PATCH", f"{EDITED}?fieldManager=pynetes-dashboard", body, Content_Type=APPLY, X_Pynetes_Guard=page.guard
    )
    causes = [cause["field"] for cause in answer.get("details", {}).get("causes", ())]
    expect(status == 409 and causes == [".spec.replicas"], f"the conflict is {status}: {answer}")
    return f"applied and scaled to 1, a second apply conflicts on {causes[0]}"


async def _log(page: _Page, pod: str) -> str:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log?tailLines=5"
    lines: list[str] = []

    async def written() -> bool:
        lines[:] = str(await page.good("GET", path)).splitlines()
        return LINE in lines

    await eventually(written, f"the log of {pod} has no line {LINE!r}")
    return "what it wrote is in the log"


async def _exec(page: _Page, pod: str) -> str:
    """A command in the container, over v5.channel.k8s.io."""
    query = urlencode(
        {"command": ("sh", "-c", f"echo {LINE} >/proc/1/fd/1; hostname"), "stdout": "true", "stderr": "true"},
        doseq=True,
    )
    url = f"{page.url}/api/v1/namespaces/{NAMESPACE}/pods/{pod}/exec?{query}"
    said = b""
    async with page.http.ws_connect(url, protocols=("v5.channel.k8s.io",), headers={"Origin": page.url}) as terminal:
        async with asyncio.timeout(20):
            async for message in terminal:
                if message.data[:1] == b"\x01":
                    said += message.data[1:]
        expect(terminal.protocol == "v5.channel.k8s.io", f"the protocol is {terminal.protocol}")
    expect(said.decode().strip() == pod, f"hostname in {pod} said {said!r}")
    return f"hostname in its terminal said {said.decode().strip()}"


async def _refused(page: _Page) -> str:
    """RBAC's refusals come through as they are; what another site's page would send does not."""
    status, answer = await page.ask("GET", "/api/v1/namespaces/kube-system/pods")
    expect(status == 403, f"kube-system answered {status}")
    status, _ = await page.ask("DELETE", EDITED)
    expect(status == 403, f"a write without the page's secret answered {status}")
    status, _ = await page.ask("GET", "/api/v1/pods", Origin="https://elsewhere.example")
    expect(status == 403, f"a request of another site answered {status}")
    status, _ = await page.ask("GET", "/pynetes/paths/4")
    expect(status == 403, f"the live map answered {status}")
    return f"kube-system: {str(answer['message']).rpartition('forbidden: ')[2][:120]}; no map without the right to it"


async def _own_rights(scene: Scene) -> str:
    """The dashboard's own ServiceAccount may do nothing, and its pod has no token."""
    account = "--as=system:serviceaccount:kube-system:dashboard"
    for verb, what in (("list", "pods"), ("get", "secrets"), ("create", "pods/exec")):
        answer = await scene.kubectl("auth", "can-i", verb, what, account, "-n", "kube-system", check=False)
        expect(answer.out.strip() == "no", f"the dashboard itself may {verb} {what}")
    found = await scene.client.get(deployments.RESOURCE, Key("kube-system", "dashboard"))
    expect(found["spec"]["template"]["spec"].get("automountServiceAccountToken") is False, "its pod has a token")
    return "the dashboard itself may do nothing"


CHECKS = (Check((2,), _dashboard),)
