"""A newcomer copies the README's test of an operator, word for word, and it passes."""

import re
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[3] / "README.md"
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shops.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: shops, singular: shop, kind: Shop}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
#: What the newcomer has: an operator that watches Shops and gives each a Deployment of three.
OPERATOR = """#!{python}
import asyncio
from pynetes.apis.apps import deployments
from pynetes.client.rest import Client
from pynetes.machinery.resource import Resource
import os

SHOPS = Resource(group="example.com", versions=("v1",), kind="Shop", plural="shops", namespaced=True)

async def main():
    client = Client.from_kubeconfig(os.environ["KUBECONFIG"])
    async with client.watch(SHOPS, resource_version="0") as events:
        async for event in events:
            metadata = event.object["metadata"]
            labels = {{"shop": metadata["name"]}}
            template = {{"metadata": {{"labels": labels}}, "spec": {{"containers": [{{"name": "c", "image": "i"}}]}}}}
            spec = {{"replicas": 3, "selector": {{"matchLabels": labels}}, "template": template}}
            place = {{"name": metadata["name"], "namespace": metadata["namespace"]}}
            await client.create(deployments.RESOURCE, {{"metadata": place, "spec": spec}})

asyncio.run(main())
"""


def from_page(page: Path) -> str:
    """The test that the page shows."""
    (found,) = re.findall(r"```python\n(def test_my_operator.*?)```", page.read_text(), re.DOTALL)
    return str(found)


@pytest.mark.parametrize("page", [README, README.parent / "docs" / "testing.md"], ids=["README", "testing"])
def test_the_first_test_passes_as_it_stands(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, page: Path
) -> None:
    """With an operator called my-operator on PATH, and a CustomResourceDefinition at deploy/crd.yaml."""
    shown = from_page(page)
    assert shown.count("\n") <= 12
    pytester.makepyfile("import os\nimport subprocess\nfrom pathlib import Path\n\n" + shown)
    folder = pytester.mkdir("deploy")
    (folder / "crd.yaml").write_text(CRD)
    operator = pytester.mkdir("bin") / "my-operator"
    operator.write_text(OPERATOR.format(python=sys.executable))
    operator.chmod(0o755)
    monkeypatch.setenv("KUBECONFIG", "/home/newcomer/production.conf")  # the operator must not look there
    monkeypatch.setenv("PATH", str(operator.parent), prepend=":")
    pytester.runpytest_subprocess("-p", "pynetes.testing.plugin").assert_outcomes(passed=1)
