"""Who looks, and with what: few rights, a phone, a keyboard."""

from typing import Any

import pytest

from pynetes.apis.apps import deployments
from pynetes.apis.core import configmaps
from tests.dashboard.browser.conftest import Visitor
from tests.dashboard.browser.test_pages import deployment
from tests.dashboard.conftest import Dashboard

pytestmark = pytest.mark.root


async def test_a_user_of_one_namespace_sees_it_and_nothing_else(visitor: Visitor, dashboard: Dashboard) -> None:
    """A clear refusal first, with the way to what they may see; then the pods of that namespace, and no other's."""
    token = await dashboard.token("shop", "clerk", "view")
    await dashboard.cluster.client.create(deployments.RESOURCE, deployment("till"), namespace="shop")
    await dashboard.cluster.client.create(deployments.RESOURCE, deployment("hidden"), namespace="default")
    await visitor.login(token, "#/list/core/pods")
    await visitor.sees("You may not see this")
    await visitor.sees('cannot list resource "pods"')
    await visitor.page.get_by_role("button", name="Look there").click()
    await visitor.sees("till-")
    assert await visitor.page.get_by_text("hidden-").count() == 0
    for page in ("#/", "#/access", "#/list/apps/deployments", "#/list/core/nodes", "#/kinds"):
        await visitor.go(page)
    await visitor.go("#/object/apps/deployments/shop/till")
    await visitor.page.get_by_role("button", name="Scale").click()
    await visitor.page.get_by_role("dialog").get_by_role("button", name="Scale").click()
    await visitor.sees('cannot patch resource "deployments/scale"', ".toasts")


async def test_the_map_is_not_for_everybody(visitor: Visitor, dashboard: Dashboard) -> None:
    """It names objects of all namespaces: the refusal says which right it takes."""
    await visitor.login(await dashboard.token("shop", "clerk", "admin"), "#/map")
    await visitor.sees("You may not see this")
    await visitor.sees("system:pynetes-paths-viewer")
    assert await visitor.page.locator("svg.map").count() == 0


async def test_a_wrong_token_is_told_at_the_login(visitor: Visitor) -> None:
    """In words, and the field stays for another try."""
    await visitor.page.goto(visitor.url)
    await visitor.page.fill("#credential", "not-a-token-of-this-cluster")
    await visitor.page.click("button[type=submit]")
    await visitor.sees("does not know this token", "form")


async def test_logging_out_forgets(admin: Visitor) -> None:
    """The next one at this browser is asked to log in."""
    await admin.page.get_by_label("Account kubernetes-admin").click()
    await admin.page.get_by_role("button", name="Log out").click()
    await admin.page.wait_for_selector("#credential")
    await admin.page.reload()
    await admin.page.wait_for_selector("#credential")


async def test_no_page_is_wider_than_a_phone(chromium: Any, dashboard: Dashboard) -> None:
    """320 pixels: nothing scrolls sideways but what says so, and the navigation is behind a button."""
    client = dashboard.cluster.client
    await client.create(deployments.RESOURCE, deployment("a-rather-long-name-for-a-deployment"), namespace="default")
    context = await chromium.new_context(
        ignore_https_errors=True, viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True
    )
    someone = Visitor(await context.new_page(), dashboard.url)
    await someone.page.goto(someone.url)
    await someone.login(dashboard.cluster.kubeconfig.read_text())
    name = "default/a-rather-long-name-for-a-deployment"
    objects = [f"#/object/apps/deployments/{name}{tab}" for tab in ("", "/yaml", "/events", "/story")]
    for page in ("#/", "#/map", "#/access", "#/kinds", "#/list/core/pods", "#/list/core/nodes", *objects):
        await someone.go(page)
        width = await someone.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 320, f"{page} is {width} wide"
    assert not await someone.page.get_by_role("link", name="Pods", exact=True).is_visible()
    await someone.page.get_by_role("button", name="Navigation").click()
    await someone.page.get_by_role("link", name="Pods", exact=True).click()
    await someone.sees("a-rather-long-name")
    assert someone.troubles == []


async def test_everything_is_within_the_keyboards_reach(admin: Visitor, dashboard: Dashboard) -> None:
    """Skip link, filter by /, rows by arrows, tabs by arrows; no mouse is touched."""
    for name in ("api", "web"):
        await dashboard.cluster.client.create(deployments.RESOURCE, deployment(name), namespace="default")
    await admin.go("#/list/apps/deployments")
    await admin.sees("web")
    await admin.page.keyboard.press("/")
    await admin.page.keyboard.type("web")
    await admin.sees("1 of 2 Deployments")
    for _ in range(12):
        await admin.page.keyboard.press("Tab")
        if await admin.page.evaluate("document.activeElement.getAttribute('role')") == "table":
            break
    await admin.page.keyboard.press("ArrowDown")
    await admin.page.keyboard.press("Enter")
    await admin.page.wait_for_selector("[role=tablist]")
    assert (await admin.page.evaluate("location.hash")) == "#/object/apps/deployments/default/web"
    await admin.page.locator("[role=tab][aria-selected=true]").focus()
    await admin.page.keyboard.press("ArrowRight")
    await admin.page.keyboard.press("Enter")
    await admin.page.wait_for_selector("textarea[aria-label=YAML]")
    await admin.page.reload()
    await admin.page.wait_for_selector("textarea[aria-label=YAML]")
    await admin.page.keyboard.press("Tab")
    assert await admin.page.evaluate("document.activeElement.textContent") == "Skip to content"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read_in_both_schemes(chromium: Any, dashboard: Dashboard, scheme: str) -> None:
    """Contrast of at least 4.5 between text, in all its tones, and what is behind it."""
    context = await chromium.new_context(ignore_https_errors=True, color_scheme=scheme)
    someone = Visitor(await context.new_page(), dashboard.url)
    await someone.login(dashboard.cluster.kubeconfig.read_text())
    pairs = [("text", "bg"), ("text", "surface"), ("muted", "surface"), ("muted", "bg"), ("accent", "surface")]
    pairs += [("on-accent", "accent"), *((tone, f"{tone}-soft") for tone in ("good", "warn", "bad", "info"))]
    for front, behind in pairs:
        ratio = await someone.page.evaluate(CONTRAST, [front, behind])
        assert ratio >= 4.5, f"{front} on {behind}: {ratio:.2f}"


CONTRAST = """([front, behind]) => {
  const light = (name) => {
    const canvas = document.createElement('canvas').getContext('2d');
    canvas.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
    canvas.fillRect(0, 0, 1, 1);
    const linear = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const [a, b] = [light(front), light(behind)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""


async def test_hostile_text_stays_text(admin: Visitor, dashboard: Dashboard) -> None:
    """Markup in data, annotations, labels' values of events and messages is shown, and never made."""
    evil = '<img src=x onerror="window.caught=1"><script>window.caught=1</script>'
    body = {"metadata": {"name": "evil", "annotations": {"note": evil}}, "data": {"page.html": evil}}
    made = await dashboard.cluster.client.create(configmaps.RESOURCE, body, namespace="default")
    about = {"kind": "ConfigMap", "name": "evil", "namespace": "default", "uid": made["metadata"]["uid"]}
    event = {"metadata": {"name": "evil.1"}, "involvedObject": about, "reason": evil[:100], "message": evil}
    await dashboard.cluster.client.request(
        "POST", "/api/v1/namespaces/default/events", body={**event, "type": "Warning"}
    )
    for page in ("", "/yaml", "/events"):
        await admin.go(f"#/object/core/configmaps/default/evil{page}")
        await admin.page.wait_for_selector("main .facts, main textarea, main .events li")
    await admin.go("#/")
    await admin.sees("onerror")
    await admin.go("#/list/core/events")
    await admin.sees("onerror")
    assert await admin.page.locator("main img, main script").count() == 0
    assert await admin.page.evaluate("window.caught") is None


async def test_log_lines_cannot_send_escapes(admin: Visitor) -> None:
    """Colours are left out; whatever else would drive a terminal, or turn text around, is shown as what it is."""
    hostile = [
        "\x1b[31mred\x1b[0m",
        "a\x1b]0;title\x07b",
        "\x1b[2Jgone",
        "over\rwritten",
        "abc\u202etxt.exe",
        "\x00\x08\x7f",
    ]
    script = "async (lines) => { const { cleaned } = await import('/assets/js/logs.js'); return lines.map(cleaned); }"
    shown = await admin.page.evaluate(script, hostile)
    assert shown[0] == "red"
    assert shown[1] == "a␛]0;title␇b"
    assert shown[2] == "␛[2Jgone"
    assert shown[4] == "abc⟨U+202E⟩txt.exe"
    assert shown[5] == "␀␈␡"
    assert not any(character in "".join(shown) for character in "\x1b\x07\x00\x08\x7f\r\u202e")
