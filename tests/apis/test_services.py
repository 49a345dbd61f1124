"""Services, Jobs and their like: what upstream refuses, in its words."""

import copy

import pytest

from pynetes.apis.apps import _validation
from pynetes.apis.batch import _job_rules, _schedule
from pynetes.apis.core import services
from pynetes.machinery.meta import Object


def service(**spec: object) -> list[str]:
    """Of a Service with this spec and its defaults."""
    obj: Object = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}
    assert services.RESOURCE.default is not None
    assert services.RESOURCE.validate is not None
    services.RESOURCE.default(obj)
    return [str(error) for error in services.RESOURCE.validate(obj, None)]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, None),
        ({"type": "ExternalName", "externalName": "a.b."}, None),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        ({"type": "ExternalName", "externalName": "a", "clusterIP": "10.0.0.1"}, "spec.clusterIPs: Forbidden: may not"),
        ({"type": "NodePort", "clusterIP": "None"}, 'spec.clusterIPs[0]: Invalid value: "None": may not be set to'),
        ({"ports": [{"port": 80, "nodePort": 30000}]}, "spec.ports[0].nodePort: Forbidden: may not be used when"),
        ({"loadBalancerClass": "a/b"}, "spec.loadBalancerClass: Forbidden: may only be used when"),
        (
            {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"]},
            'spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may',
        ),
        ({"clusterIPs": ["10.0.0.1"]}, 'spec.clusterIPs: Invalid value: ["10.0.0.1"]: must be empty when `clusterIP`'),
        ({"clusterIP": "10.0.0.1", "ipFamilies": ["IPv6"]}, 'spec.clusterIPs[0]: Invalid value: "10.0.0.1": expected'),
        ({"ipFamilies": ["IPv5"]}, 'spec.ipFamilies[0]: Unsupported value: "IPv5"'),
        ({"trafficDistribution": "X"}, 'spec.trafficDistribution: Unsupported value: "X"'),
        ({"type": "LoadBalancer", "ports": [{"port": 10250}]}, None),
        ({"healthCheckNodePort": 30000}, "spec.healthCheckNodePort: Invalid value: 30000: may only be set when"),
    ],
)
def test_services(spec: Object, expected: str | None) -> None:
    """At most one mistake each."""
    found = service(**spec)
    assert len(found) == (expected is not None), found
    assert not expected or found[0].startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/5 0-6 1,15 jan-mar mon", ""),
        ("@daily", ""),
        ("@every 1h30m", ""),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-2 * * * *", "beginning of range (5) beyond end of range (2): 5-2"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
        ("@often", "unrecognized descriptor: @often"),
    ],
)
def test_schedules(text: str, expected: str) -> None:
    """As the library says it that upstream reads them with."""
    assert _schedule.problem(text) == expected


def job(**spec: object) -> list[str]:
    """Of a Job with this spec."""
    container = {"name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}
    pod = {"containers": [container], "restartPolicy": "Never", "dnsPolicy": "Default"}
    return [str(error) for error in _job_rules.spec_problems({"template": {"spec": pod}, **spec}, "s")]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, None),
        ({"backoffLimitPerIndex": 1}, "s.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"),
        ({"managedBy": "x"}, "s.managedBy: Invalid value"),
        ({"podReplacementPolicy": "X"}, 's.podReplacementPolicy: Unsupported value: "X"'),
        (
            {
                "completionMode": "Indexed",
                "completions": 3,
                "successPolicy": {"rules": [{"succeededIndexes": "0,2-3"}]},
            },
            's.successPolicy.rules[0].succeededIndexes: Invalid value: "0,2-3": error parsing succeededIndexes: too',
        ),
        (
            {
                "podFailurePolicy": {
                    "rules": [{"action": "FailIndex", "onPodConditions": [{"type": "A", "status": "True"}]}]
                }
            },
            's.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex',
        ),
    ],
)
def test_jobs(spec: Object, expected: str | None) -> None:
    """At most one mistake each."""
    found = job(**spec)
    assert len(found) == (expected is not None), found
    assert not expected or found[0].startswith(expected)


def test_daemons_surge_or_fall() -> None:
    """Not both, and not neither."""
    (both,) = _validation.rolling_nodes({"maxSurge": 1, "maxUnavailable": "10%"}, "r")
    assert str(both) == "r.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
    (neither,) = _validation.rolling_nodes({"maxSurge": 0, "maxUnavailable": "0%"}, "r")
    assert str(neither) == "r.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"


@pytest.mark.parametrize("spec", [{"spec": {"type": "LoadBalancer"}}, {}, {"spec": {}}])
def test_a_balancers_address_is_virtual(spec: Object) -> None:
    """Unless the status says otherwise; also where the status comes without the rest of the Service."""
    obj: Object = {
        **copy.deepcopy(spec),
        "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"hostname": "h"}]}},
    }
    services.default(obj)
    assert obj["status"]["loadBalancer"]["ingress"] == [{"ip": "10.0.0.1", "ipMode": "VIP"}, {"hostname": "h"}]
