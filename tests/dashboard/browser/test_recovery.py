"""A connection that is lost, and a revision that is gone."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from pynetes.apis.core import configmaps
from pynetes.machinery.meta import Key
from tests.dashboard.browser.cable import Cable
from tests.dashboard.browser.conftest import Visitor
from tests.dashboard.conftest import Dashboard

pytestmark = pytest.mark.root


async def test_a_lost_connection_is_told_and_recovers(chromium: Any, dashboard: Dashboard) -> None:
    """A banner while it lasts; afterwards the list is true again, what happened meanwhile included."""
    client = dashboard.cluster.client
    for name in ("first", "leaving"):
        await client.create(configmaps.RESOURCE, {"metadata": {"name": name}}, namespace="default")
    cable = Cable(urlsplit(dashboard.url))
    async with cable.laid() as port:
        context = await chromium.new_context(ignore_https_errors=True)
        someone = Visitor(await context.new_page(), f"https://127.0.0.1:{port}")
        await someone.login(dashboard.cluster.kubeconfig.read_text(), "#/list/core/configmaps")
        await someone.sees("leaving")
        cable.cut()
        await someone.sees("The connection is lost", ".banner")
        await client.create(configmaps.RESOURCE, {"metadata": {"name": "meanwhile"}}, namespace="default")
        await client.delete(configmaps.RESOURCE, Key("default", "leaving"))
        cable.whole = True
        await someone.page.get_by_role("button", name="Try now").click()
        await someone.sees("meanwhile")
        await someone.page.wait_for_selector(".banner", state="hidden")
        await someone.page.get_by_role("link", name="leaving").wait_for(state="detached")
        await client.create(configmaps.RESOURCE, {"metadata": {"name": "afterwards"}}, namespace="default")
        await someone.sees("afterwards")


async def test_a_request_that_is_dropped_is_made_again(admin: Visitor, dashboard: Dashboard) -> None:
    """As browsers drop them when a laptop changes its network: a page that only reads shows no refusal."""
    dropped = []

    async def drop_once(route: Any) -> None:
        if dropped:
            await route.continue_()
            return
        dropped.append(route.request.url)
        await route.abort("internetdisconnected")

    await admin.page.route("**/api/v1/**", drop_once)
    await dashboard.cluster.client.create(configmaps.RESOURCE, {"metadata": {"name": "there"}}, namespace="default")
    await admin.go("#/list/core/configmaps")
    await admin.sees("there")
    assert dropped


async def test_a_revision_that_is_gone_lists_anew(visitor: Visitor, dashboard: Dashboard) -> None:
    """The API server's 410, as the answer to a watch and within one."""
    gone = '{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}'
    told = 0

    def route(socket: Any) -> None:
        server = socket.connect_to_server()

        def to_server(message: str) -> None:
            nonlocal told
            if "configmaps" in message and '"open"' in message and told < 2:
                number = message.split('"open":')[1].split(",")[0]
                told += 1
                if told == 1:
                    socket.send(f'{{"id":{number},"status":410,"error":{gone}}}')
                else:
                    event = f'{{"type":"ERROR","object":{gone}}}\\n'.replace('"', '\\"')
                    socket.send(f'{{"id":{number},"data":"{event}"}}')
                return
            server.send(message)

        socket.on_message(to_server)

    await visitor.page.route_web_socket("**/live", route)
    await visitor.login(dashboard.cluster.kubeconfig.read_text(), "#/list/core/configmaps")
    await visitor.sees("kube-root-ca.crt")
    await dashboard.cluster.client.create(configmaps.RESOURCE, {"metadata": {"name": "after"}}, namespace="default")
    await visitor.sees("after")
    assert told == 2


async def test_a_session_that_ends_asks_for_the_login(visitor: Visitor, dashboard: Dashboard) -> None:
    """With why; the page that was wanted comes after it."""
    await visitor.login(dashboard.cluster.kubeconfig.read_text(), "#/list/core/configmaps")
    await visitor.page.context.clear_cookies()
    await visitor.page.evaluate("location.hash = '#/list/core/nodes'")
    await visitor.sees("Please log in again", "form")
    await visitor.page.fill("#credential", dashboard.cluster.kubeconfig.read_text())
    await visitor.page.click("button[type=submit]")
    await visitor.sees("node-1")
