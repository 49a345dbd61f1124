"""kubectl explain --recursive: it reads discovery and the OpenAPI document of the kind's group version."""

import subprocess

import pytest
from hypothesis import settings

from pynetes import apis
from pynetes.testing.blocking import Kubernetes
from tests.delivery.conftest import found

#: kubectl takes a quarter of a second for each; tests/apiserver/openapi walks the documents of all kinds.
ALL = settings.get_current_profile_name() == "explore"
SOME = ("v1/pods", "events.k8s.io/v1/events", "autoscaling/v1/horizontalpodautoscalers", "apps/v1/deployments")
EVERY = [
    f"{f'{resource.group}/' if resource.group else ''}{version}/{resource.plural}"
    for resource in apis.load()
    for version in resource.versions
]


def explain(cluster: Kubernetes, *argv: str) -> str:
    """What kubectl says of a kind."""
    asked = [found("kubectl"), "--kubeconfig", str(cluster.kubeconfig), "explain", *argv]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), argv
    return done.stdout


@pytest.mark.parametrize("resource", EVERY if ALL else SOME)
def test_every_kind_is_explained(cluster: Kubernetes, resource: str) -> None:
    """With all fields below it."""
    version, _, plural = resource.rpartition("/")
    said = explain(cluster, plural, "--recursive", "--api-version", version)
    assert "apiVersion\t<string>" in said
    assert "DESCRIPTION:" in said


def test_the_values_of_a_field_are_explained(cluster: Kubernetes) -> None:
    """kubectl shows them apart."""
    assert "ENUM:\n    Always\n    Never\n    OnFailure\n" in explain(cluster, "pods.spec.restartPolicy")
