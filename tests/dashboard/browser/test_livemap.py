"""The live map in a real browser, over the traffic of this process."""

import pytest

from pynetes.apis.core import configmaps
from pynetes.component.tracing import RECORDER, Interaction, now
from tests.dashboard.browser.conftest import Visitor
from tests.dashboard.conftest import Dashboard

pytestmark = pytest.mark.root


async def test_the_map_moves(admin: Visitor, dashboard: Dashboard) -> None:
    """All 29 paths and the mTLS are drawn; one that is used becomes alive, one that fails shows it."""
    await admin.go("#/map")
    await admin.page.wait_for_selector("svg.map")
    assert await admin.page.locator("svg.map .edge").count() == 30
    RECORDER.record(Interaction(25, now(), "ingress", "kube-apiserver", "watch", "ingresses shop/front", 0.004))
    await admin.page.wait_for_selector(".edge.seen[aria-label^='25:']")
    RECORDER.record(Interaction(19, now(), "cloud", "provider", "call", "", 0.2, "Throttled"))
    await admin.page.wait_for_selector(".edge.failing[aria-label^='19:']")


async def test_a_line_tells_what_secured_it(admin: Visitor, dashboard: Dashboard) -> None:
    """By keyboard: figures, who was let in by which rule, both certificates, the last calls as they come."""
    await admin.go("#/map")
    await admin.page.wait_for_selector("svg.map")
    await admin.page.locator(".edge[aria-label^='2:']").focus()
    await admin.page.keyboard.press("Enter")
    await admin.sees("kubernetes-admin", ".detail")
    await admin.page.locator(".detail dt", has_text="Rule").wait_for()
    certificates = admin.page.locator(".cert")
    assert "O=system:masters" in await certificates.first.inner_text()
    assert "DNS:localhost" in await certificates.last.inner_text()
    assert "days left" in await certificates.last.inner_text()
    await admin.page.evaluate("fetch('api/v1/namespaces/default/configmaps/named-in-the-calls')")
    await admin.sees("named-in-the-calls", ".calls")


async def test_an_object_tells_its_story(admin: Visitor, dashboard: Dashboard) -> None:
    """From a call on the map, and on the object's own page."""
    client = dashboard.cluster.client
    await client.create(configmaps.RESOURCE, {"metadata": {"name": "traced"}}, namespace="default")
    await admin.go("#/object/core/configmaps/default/traced/story")
    await admin.sees("create", ".story")
    await admin.page.get_by_role("link", name="path 1").first.click()
    await admin.sees("kubectl → API server", ".detail")
    await admin.page.get_by_title("Its story").first.click()
    await admin.page.wait_for_selector(".detail .story")
