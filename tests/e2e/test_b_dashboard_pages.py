"""Every page of the dashboard of a real cluster, in a real browser: what is there, who may see it, what is lost."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.dashboard.browser.cable import Cable
from tests.dashboard.browser.conftest import Visitor
from tests.e2e.conftest import Cluster

pytestmark = pytest.mark.e2e

OBJECTS = Path(__file__).with_name("one_of_each.yaml")
#: Set it to keep what was seen.
PICTURES = os.environ.get("PYNETES_PICTURES", "")
#: What a list shows where OBJECTS has nothing for it: what every cluster has.
THEIRS: Mapping[str, str] = {
    "nodes": "Ready",
    "events": "FailedScheduling",
    "endpointslices": "walker-",
    "namespaces": "walk",
    "storageclasses": "local.csi.pynetes.io",
    "kinds": "snapshot.storage.k8s.io",
    "customresourcedefinitions": "volumesnapshots.snapshot.storage.k8s.io",
}
#: The pages that are no list, and what only a cluster at work can put there.
OTHERS: Mapping[str, str] = {
    "#/": "a:text('walker')",
    "#/map": "svg.map .edge.seen",
    "#/access": "text=Everything: this user may do anything",
}
LINKS = "all => all.map(a => a.getAttribute('href'))"


class Witness:
    """Writes down what a browser complains about: requests that failed or were refused, errors of scripts, policies."""

    def __init__(self, page: Any) -> None:
        self.failures: list[str] = []
        self.foreign: list[str] = []
        self._host = ""
        page.on("request", self._asked)
        page.on("response", self._answered)
        # A page that is left ends what it was still asking for.
        page.on(
            "requestfailed",
            lambda request: "ERR_ABORTED" in (request.failure or "") or self.failures.append(f"failed: {request.url}"),
        )
        page.on("console", lambda said: said.type in ("error", "warning") and self.failures.append(said.text))

    def _asked(self, request: Any) -> None:
        host = urlsplit(request.url).netloc
        self._host = self._host or host
        if host != self._host:
            self.foreign.append(request.url)

    def _answered(self, response: Any) -> None:
        # 401 is how the page learns that nobody is logged in yet.
        if response.status >= 400 and not (
            response.status == 401 and response.url.endswith(("/session", "/apis", "/api"))
        ):
            self.failures.append(f"{response.status}: {response.url}")


@pytest.fixture(scope="module")
def objects(cluster: Cluster) -> None:
    """One for every page, in the namespace walk."""
    cluster.run("apply", "-f", str(OBJECTS))


async def picture(visitor: Visitor, name: str) -> None:
    """Keep what is seen now, for a person to look at."""
    if PICTURES:
        await visitor.page.screenshot(path=f"{PICTURES}/{name}.png")


async def open_page(visitor: Visitor, link: str, shown: str) -> None:
    """And wait for what must be there."""
    await visitor.go(link)
    kind = link.rpartition("/")[2]
    text = THEIRS.get(kind, "walker")
    if link.startswith("#/list") or link == "#/kinds":
        # Of a long list only the rows in sight exist.
        await visitor.page.get_by_label("Filter").fill(text)
    await visitor.page.locator("main").locator(OTHERS.get(link) or f"text={text}").first.wait_for()
    await picture(visitor, f"{shown}-{kind or 'overview'}")


async def walk(visitor: Visitor, shown: str) -> list[str]:
    """Open each page that the navigation has, and wait for what must be there."""
    links = await visitor.page.locator(".side a.item").evaluate_all(LINKS)
    for link in links:
        await open_page(visitor, link, shown)
    return list(links)


async def test_every_page_shows_the_clusters_own_objects(admin: Visitor, objects: None) -> None:
    """Nothing is asked of another host, nothing fails, no page complains."""
    witness = Witness(admin.page)
    links = await walk(admin, "desk")
    assert len(links) > 25
    assert witness.failures == []
    assert witness.foreign == []


async def test_every_kind_of_object_has_its_pages(admin: Visitor, objects: None) -> None:
    """Overview, YAML, events and story of one object of each kind, as the cluster stores it."""
    witness = Witness(admin.page)
    for kind in ("core/pods", "apps/deployments", "core/persistentvolumeclaims"):
        for tab in ("", "/yaml", "/events", "/story"):
            await admin.go(f"#/object/{kind}/walk/walker{tab}")
            await admin.page.wait_for_selector("main [role=tab][aria-selected=true]")
            await picture(admin, f"object-{kind.rpartition('/')[2]}{tab.replace('/', '-')}")
    await admin.go("#/object/core/secrets/walk/walker")
    await admin.sees("15 bytes")
    assert "never-on-a-page" not in await admin.page.content()
    await admin.go("#/object/apps/deployments/walk/walker/yaml")
    field = admin.page.get_by_role("textbox", name="YAML")
    assert "busybox:1.35" in await field.input_value()
    assert witness.failures == []


async def test_a_deployment_is_edited_scaled_and_deleted(admin: Visitor, cluster: Cluster, objects: None) -> None:
    """By the page; kubectl, who owned the field, sees it."""
    cluster.run("create", "deployment", "mine", "-n", "walk", "--image=pynetes.io/busybox:1.35", "--replicas=0")
    await admin.go("#/object/apps/deployments/walk/mine/yaml")
    field = admin.page.get_by_role("textbox", name="YAML")
    await field.fill((await field.input_value()).replace("revisionHistoryLimit: 10", "revisionHistoryLimit: 3"))
    await admin.page.get_by_role("button", name="Apply", exact=True).click()
    await admin.sees("Someone else owns what you change")
    await admin.sees("kubectl-create")
    await admin.page.get_by_role("button", name="Take over and apply").click()
    await admin.page.get_by_text("Someone else owns").wait_for(state="detached")
    assert cluster.json("get", "deployment", "mine", "-n", "walk")["spec"]["revisionHistoryLimit"] == 3
    await admin.page.get_by_role("button", name="Delete").click()
    await admin.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await admin.page.wait_for_url("**/#/list/apps/deployments")
    assert "NotFound" in cluster.run("get", "deployment", "mine", "-n", "walk", check=False)


async def test_a_phone_shows_them_too(chromium: Any, url: str, cluster: Cluster, objects: None) -> None:
    """No page of a real cluster is wider than a small phone, and nothing on it lies over something else."""
    context = await chromium.new_context(
        ignore_https_errors=True, viewport={"width": 360, "height": 740}, is_mobile=True, color_scheme="dark"
    )
    someone = Visitor(await context.new_page(), url)
    await someone.login(cluster.kubeconfig.read_text())
    for link in ("#/", "#/map", "#/list/core/pods", "#/list/core/events", "#/object/core/pods/walk/walker"):
        await open_page(someone, link, "phone")
        assert await someone.page.evaluate("document.documentElement.scrollWidth") <= 360, link
        for row in await someone.page.locator("main .body .tr").all():
            assert await row.locator(".td.state-cell").count() <= 1, link
    assert someone.troubles == []


async def test_a_viewer_of_one_namespace(chromium: Any, url: str, cluster: Cluster, objects: None) -> None:
    """Sees all of it on every page, a clear refusal of the rest, and no value of any Secret."""
    token = cluster.run("-n", "walk", "create", "token", "walker").strip()
    context = await chromium.new_context(ignore_https_errors=True)
    someone = Visitor(await context.new_page(), url)
    await someone.login(token, "#/list/core/pods")
    await someone.sees('cannot list resource "pods"')
    await someone.page.get_by_role("button", name="Look there").click()
    await someone.sees("walker")
    seen, refused = set(), set()
    for link in await someone.page.locator(".side a.item").evaluate_all(LINKS):
        await someone.go(link)
        kind = link.rpartition("/")[2]
        if link in ("#/", "#/access", "#/kinds"):
            continue
        await someone.page.wait_for_selector("main .refused, main .td.main, main .empty")
        if await someone.page.locator("main .refused").count():
            refused.add(kind)
        elif await someone.page.locator("main").get_by_text("walker").count():
            seen.add(kind)
        assert await someone.page.locator("main").get_by_text("kube-system").count() == 0
        await picture(someone, f"clerk-{kind}")
    assert {"pods", "deployments", "services", "configmaps", "jobs", "ingresses", "persistentvolumeclaims"} <= seen
    assert {"map", "secrets", "roles", "rolebindings", "persistentvolumes", "clusterroles"} <= refused
    assert not seen & refused
    assert someone.troubles == []


async def test_a_lost_connection_recovers(chromium: Any, url: str, cluster: Cluster, objects: None) -> None:
    """It is told; afterwards the list is the cluster's again, with what came and went meanwhile."""
    cluster.run("-n", "walk", "create", "configmap", "leaving")
    cable = Cable(urlsplit(url))
    async with cable.laid() as port:
        context = await chromium.new_context(ignore_https_errors=True)
        someone = Visitor(await context.new_page(), f"https://127.0.0.1:{port}")
        await someone.login(cluster.kubeconfig.read_text(), "#/list/core/configmaps")
        await someone.page.get_by_label("Filter").fill("walk")
        await someone.sees("leaving")
        cable.cut()
        await someone.sees("The connection is lost", ".banner")
        await picture(someone, "lost")
        cluster.run("-n", "walk", "create", "configmap", "meanwhile")
        cluster.run("-n", "walk", "delete", "configmap", "leaving")
        cable.whole = True
        await someone.page.get_by_role("button", name="Try now").click()
        await someone.sees("meanwhile")
        await someone.page.wait_for_selector(".banner", state="hidden")
        await someone.page.get_by_role("link", name="leaving").wait_for(state="detached")
        assert someone.troubles == []
