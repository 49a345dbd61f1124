"""The FlowSchemas and PriorityLevelConfigurations that every cluster has, from flowcontrol.yaml."""

from collections.abc import Iterator
from importlib import resources
from typing import Any

import yaml

from pynetes.apis.flowcontrol import flowschemas, prioritylevelconfigurations
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

_AUTOUPDATE = {"apf.kubernetes.io/autoupdate-spec": "true"}
_EVERYTHING = [{"verbs": ["*"], "groups": ["*"], "resources": ["*"], "cluster": True}]


def objects(now: str) -> Iterator[tuple[Resource, Object]]:
    """All of them; now is the time of their conditions."""
    text = resources.files(__package__).joinpath("flowcontrol.yaml").read_text()
    data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    for name, about in data["levels"].items():
        yield prioritylevelconfigurations.RESOURCE, _level(name, about)
    for name, about in data["schemas"].items():
        yield flowschemas.RESOURCE, _schema(name, about, now)


def _level(name: str, about: Any) -> Object:
    shares: Object = {"nominalConcurrencyShares": about["shares"], "lendablePercent": about["lendable"]}
    if about.get("exempt"):
        spec: Object = {"type": "Exempt", "exempt": shares}
    else:
        response: Object = {"type": "Reject"}
        if "queues" in about:
            queuing = {"queues": about["queues"], "handSize": about["hand"], "queueLengthLimit": 50}
            response = {"type": "Queue", "queuing": queuing}
        spec = {"type": "Limited", "limited": {**shares, "limitResponse": response}}
    return {"metadata": {"name": name, "annotations": dict(_AUTOUPDATE)}, "spec": spec, "status": {}}


def _schema(name: str, about: Any, now: str) -> Object:
    rule: Object = {"subjects": [_subject(text) for text in about["subjects"]]}
    if listed := about.get("resources", _EVERYTHING):
        rule["resourceRules"] = [_resource_rule(each) for each in listed]
    if paths := about.get("paths", ["*"]):
        verbs = ["get"] if "paths" in about else ["*"]
        rule["nonResourceRules"] = [{"verbs": verbs, "nonResourceURLs": paths}]
    level = about["level"]
    spec: Object = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": about["precedence"]}
    if "by" in about:
        spec["distinguisherMethod"] = {"type": about["by"]}
    message = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" and it exists'
    condition = {
        "type": "Dangling",
        "status": "False",
        "lastTransitionTime": now,
        "reason": "Found",
        "message": message,
    }
    return {
        "metadata": {"name": name, "annotations": dict(_AUTOUPDATE)},
        "spec": {**spec, "rules": [rule]},
        "status": {"conditions": [condition]},
    }


def _subject(text: str) -> Object:
    kind, name = text.split(" ")
    if kind == "ServiceAccount":
        namespace, _, account = name.partition("/")
        return {"kind": kind, "serviceAccount": {"namespace": namespace, "name": account}}
    return {"kind": kind, kind.lower(): {"name": name}}


def _resource_rule(about: Any) -> Object:
    rule: Object = {"verbs": about["verbs"], "apiGroups": about["groups"], "resources": about["resources"]}
    if about.get("cluster"):
        rule["clusterScope"] = True
    return {**rule, "namespaces": ["*"]}
