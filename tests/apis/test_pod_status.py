"""What the status of a pod may not become, and to what a gated pod may be narrowed."""

from typing import Any

import pytest

from pynetes.apis.core import _pod_validation, pods
from pynetes.machinery.meta import Object


def pod(spec: Object | None = None, **status: Any) -> Object:
    made = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **(spec or {})}}
    pods.default(made)
    return {**made, "status": {"qosClass": "BestEffort", **status}}


def problems(new: Object, old: Object) -> list[str]:
    pods.prepare_status(new, old)
    return [str(error) for error in pods.validate_status(new, old)]


ENDED = {"name": "c", "state": {"terminated": {"exitCode": 0}}}


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"qosClass": "Guaranteed"}, 'status.qosClass: Invalid value: "Guaranteed": field is immutable'),
        ({"conditions": [{"type": "a b"}]}, 'metadata.conditions[0].Type: Invalid value: "a b"'),
        ({"nominatedNodeName": "A_"}, 'status.nominatedNodeName: Invalid value: "A_"'),
        ({"podIPs": [{"ip": "1.1.1.1"}, {"ip": "2.2.2.2"}]}, "may specify no more than one IP for each IP family"),
        ({"podIPs": [{"ip": "x"}]}, 'status.podIPs[0]: Invalid value: "x"'),
        ({"resourceClaimStatuses": [{"name": "r"}]}, "must match the name of an entry in `spec.resourceClaims`"),
        (
            {"containerStatuses": [{"name": "c", "state": {"running": {}}}]},
            "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state",
        ),
    ],
)
def test_refused(status: Object, text: str) -> None:
    """One mistake each."""
    old = pod({"restartPolicy": "Never"}, containerStatuses=[ENDED])
    (found,) = problems(pod({"restartPolicy": "Never"}, **{"containerStatuses": [ENDED], **status}), old)
    assert text in found


def test_observed_generation_stays() -> None:
    """A kubelet that does not know it does not take it away."""
    old = pod(observedGeneration=3, conditions=[{"type": "Ready", "observedGeneration": 3}])
    new = pod(conditions=[{"type": "Ready", "status": "True"}])
    assert problems(new, old) == []
    assert new["status"]["observedGeneration"] == 3
    assert new["status"]["conditions"][0]["observedGeneration"] == 3


def term(*keys: str) -> Object:
    found = [{"key": key, "operator": "Exists"} for key in keys]
    required = {"nodeSelectorTerms": [{"matchExpressions": found}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"nodeSelector": {"a": "b", "c": "d"}}, ""),
        ({"nodeSelector": {"a": "x"}}, "only additions to spec.nodeSelector are allowed"),
        ({"affinity": term("k", "l")}, ""),
        ({"affinity": term("l")}, "nodeSelectorTerms[0]: Invalid value"),
        ({"affinity": None}, "no additions/deletions to non-empty NodeSelectorTerms list are allowed"),
        ({"affinity": {**term("k"), "podAffinity": {}}}, "pod updates may not change fields other than"),
    ],
)
def test_a_gated_pod_is_narrowed_down(changed: Object, text: str) -> None:
    """Its nodes may become fewer, and nothing else changes."""
    base: Object = {"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}, "affinity": term("k")}
    new = pod({name: value for name, value in {**base, **changed}.items() if value is not None})
    found = [str(error) for error in _pod_validation.validate_pod(new, pod(base))]
    assert len(found) == (text != ""), found
    assert text in "".join(found)
