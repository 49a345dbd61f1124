"""Every page, in a real browser."""

import re

import pytest

from pynetes.apis.apps import deployments
from pynetes.apis.core import configmaps, pods, secrets
from pynetes.machinery.meta import Key, Object
from tests.dashboard.browser.conftest import Visitor
from tests.dashboard.conftest import Dashboard

pytestmark = pytest.mark.root


def deployment(name: str, replicas: int = 2) -> Object:
    """A Deployment as people write it."""
    labels = {"app": name}
    container = {"name": "main", "image": "web:1", "ports": [{"containerPort": 80}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


async def test_every_page_of_the_navigation_opens(admin: Visitor, dashboard: Dashboard) -> None:
    """With a heading, with no script failing and nothing that the policy forbids."""
    await dashboard.cluster.client.create(deployments.RESOURCE, deployment("web"), namespace="default")
    links = await admin.page.locator(".side a.item").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert len(links) > 25
    for link in links:
        await admin.go(link)
        refused = await admin.page.locator("main .refused").all_inner_texts()
        assert not refused, (link, refused)
        current = admin.page.locator(".side a[aria-current=page]")
        assert await current.get_attribute("href") == link


async def test_a_list_is_true_without_a_reload(admin: Visitor, dashboard: Dashboard) -> None:
    """By watch: what is made, changes and goes shows by itself."""
    client = dashboard.cluster.client
    await admin.go("#/list/apps/deployments")
    await client.create(deployments.RESOURCE, deployment("web"), namespace="default")
    await admin.sees("2/2")
    await client.patch(deployments.RESOURCE, Key("default", "web"), {"spec": {"replicas": 3}}, kind="merge")
    await admin.sees("3/3")
    await client.delete(deployments.RESOURCE, Key("default", "web"))
    await admin.sees("No Deployments")


async def test_an_object_is_scaled_and_deleted(admin: Visitor, dashboard: Dashboard) -> None:
    """By its buttons, each asking first; the page follows the object."""
    await dashboard.cluster.client.create(deployments.RESOURCE, deployment("web"), namespace="default")
    await admin.go("#/object/apps/deployments/default/web")
    await admin.sees("2/2 ready")
    await admin.page.get_by_role("button", name="Scale").click()
    await admin.page.get_by_label("Replicas").last.fill("4")
    await admin.page.get_by_role("dialog").get_by_role("button", name="Scale").click()
    await admin.sees("4/4 ready")
    await admin.page.get_by_role("button", name="Delete").click()
    await admin.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await admin.sees("No Deployments")


async def test_an_edit_shows_its_conflicts_and_takes_over(admin: Visitor, dashboard: Dashboard) -> None:
    """Server-side apply: who owns the field is named, and only a second decision changes it."""
    client = dashboard.cluster.client
    await client.create(deployments.RESOURCE, deployment("web"), namespace="default")
    await admin.go("#/object/apps/deployments/default/web/yaml")
    field = admin.page.get_by_role("textbox", name="YAML")
    await field.fill((await field.input_value()).replace("replicas: 2", "replicas: 5"))
    await admin.page.get_by_role("button", name="Preview changes").click()
    await admin.sees("+   replicas: 5", ".diff")
    assert (await client.get(deployments.RESOURCE, Key("default", "web")))["spec"]["replicas"] == 2
    await admin.page.get_by_role("button", name="Apply", exact=True).click()
    await admin.sees("Someone else owns what you change")
    await admin.sees(".spec.replicas")
    await admin.page.get_by_role("button", name="Take over and apply").click()
    await admin.sees("5/5 ready")
    assert (await client.get(deployments.RESOURCE, Key("default", "web")))["spec"]["replicas"] == 5


async def test_what_is_wrong_in_an_edit_is_told(admin: Visitor, dashboard: Dashboard) -> None:
    """The API server's causes, by field; nothing is lost of what was written."""
    await dashboard.cluster.client.create(deployments.RESOURCE, deployment("web"), namespace="default")
    await admin.go("#/object/apps/deployments/default/web/yaml")
    field = admin.page.get_by_role("textbox", name="YAML")
    await field.fill((await field.input_value()).replace("replicas: 2", "replicas: -1"))
    await admin.page.get_by_role("button", name="Apply", exact=True).click()
    await admin.sees("spec.replicas")
    assert "replicas: -1" in await field.input_value()


async def test_an_edit_is_not_overwritten_by_what_happens_meanwhile(admin: Visitor, dashboard: Dashboard) -> None:
    """It says that the object has changed, and leaves the rest to the person."""
    client = dashboard.cluster.client
    await client.create(configmaps.RESOURCE, {"metadata": {"name": "mine"}, "data": {"a": "1"}}, namespace="default")
    await admin.go("#/object/core/configmaps/default/mine/yaml")
    field = admin.page.get_by_role("textbox", name="YAML")
    await field.fill((await field.input_value()).replace('a: "1"', 'a: "2"'))
    await client.patch(configmaps.RESOURCE, Key("default", "mine"), {"data": {"b": "3"}}, kind="merge")
    await admin.sees("It has changed meanwhile")
    assert 'a: "2"' in await field.input_value()


async def test_secrets_are_masked_until_asked_for(admin: Visitor, dashboard: Dashboard) -> None:
    """On the overview and as YAML; one value at a time."""
    secret = {"metadata": {"name": "till"}, "stringData": {"pin": "open-sesame", "other": "never-shown"}}
    await dashboard.cluster.client.create(secrets.RESOURCE, secret, namespace="default")
    await admin.go("#/object/core/secrets/default/till")
    await admin.sees("11 bytes")
    assert "open-sesame" not in await admin.page.content()
    await admin.page.get_by_label("Show pin").click()
    await admin.sees("open-sesame")
    assert "never-shown" not in await admin.page.locator("main").inner_text()
    await admin.go("#/object/core/secrets/default/till/yaml")
    await admin.sees("The YAML of a Secret shows its values")
    assert not await admin.page.get_by_role("textbox", name="YAML").is_visible()


async def test_the_overview_counts_and_names_what_needs_attention(admin: Visitor, dashboard: Dashboard) -> None:
    """A pod that fits nowhere is named, with why, and the numbers follow."""
    pod: Object = {"metadata": {"name": "nowhere"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    pod["spec"]["nodeSelector"] = {"on": "mars"}
    await admin.go("#/")
    await admin.sees("All is well")
    await dashboard.cluster.client.create(pods.RESOURCE, pod, namespace="default")
    await admin.sees("nowhere")
    await admin.sees("FailedScheduling")
    await admin.page.locator(".tile", has_text=re.compile("^1Pods")).wait_for()


async def test_what_somebody_else_may_do(admin: Visitor, dashboard: Dashboard) -> None:
    """By impersonation, which the administrator may and others may not."""
    await dashboard.token("shop", "clerk", "view")
    await admin.go("#/access")
    await admin.sees("Everything: this user may do anything")
    await admin.page.fill("#where", "shop")
    await admin.page.fill("#user", "system:serviceaccount:shop:clerk")
    await admin.page.get_by_role("button", name="Show").click()
    await admin.sees("configmaps")
    assert await admin.page.get_by_text("Everything: this user").count() == 0
    assert await admin.page.locator("tr", has_text="secrets").count() == 0


async def test_a_kind_of_a_definition_has_pages(admin: Visitor, dashboard: Dashboard) -> None:
    """CustomResourceDefinitions: listed with their own columns, opened, edited like any other."""
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.sea.example"},
        "spec": {
            "group": "sea.example",
            "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "properties": {"sails": {"type": "integer"}}}},
                        }
                    },
                    "additionalPrinterColumns": [{"name": "Sails", "type": "integer", "jsonPath": ".spec.sails"}],
                }
            ],
        },
    }
    client = dashboard.cluster.client
    await client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=definition)
    boat = {"apiVersion": "sea.example/v1", "kind": "Boat", "metadata": {"name": "argo"}, "spec": {"sails": 3}}
    await dashboard.cluster.settle()
    await client.request("POST", "/apis/sea.example/v1/namespaces/default/boats", body=boat)
    await admin.page.reload()
    await admin.go("#/kinds")
    await admin.page.get_by_label("Filter").fill("boats")
    await admin.page.get_by_role("link", name="Boat").click()
    await admin.sees("Sails")
    await admin.page.get_by_role("link", name="argo").click()
    await admin.page.get_by_role("tab", name="YAML").click()
    assert "sails: 3" in await admin.page.get_by_role("textbox", name="YAML").input_value()
