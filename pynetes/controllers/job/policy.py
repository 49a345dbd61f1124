"""What a Job says about its pods' failures and successes: podFailurePolicy and successPolicy."""

from typing import NamedTuple

from pynetes.controllers.job import indexes
from pynetes.machinery.meta import Object


class Verdict(NamedTuple):
    """What the first matching rule decides about a failed pod; action "" is the default: it counts."""

    action: str = ""
    message: str = ""


def judge(job: Object, pod: Object) -> Verdict:
    """FailJob, FailIndex, Ignore, Count or "" for a failed pod."""
    for number, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        if reason := _exit_codes(rule.get("onExitCodes"), pod) or _conditions(rule.get("onPodConditions"), pod):
            return Verdict(rule["action"], f"{reason} matching {rule['action']} rule at index {number}")
    return Verdict()


def _exit_codes(wanted: Object | None, pod: Object) -> str:
    if not wanted:
        return ""
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        ended = (container.get("state") or {}).get("terminated")
        if not ended or ended.get("exitCode", 0) == 0:
            continue
        if wanted.get("containerName") not in (None, container["name"]):
            continue
        if (ended["exitCode"] in wanted["values"]) == (wanted["operator"] == "In"):
            name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            return f"Container {container['name']} for pod {name} failed with exit code {ended['exitCode']}"
    return ""


def _conditions(wanted: list[Object] | None, pod: Object) -> str:
    for pattern in wanted or ():
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if (condition["type"], condition["status"]) == (pattern["type"], pattern.get("status") or "True"):
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                return f"Pod {name} has condition {condition['type']}"
    return ""


def succeeded(job: Object, done: set[int]) -> str:
    """What says that enough indexes have succeeded; "" while none does."""
    for number, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        counted = done & indexes.parse(rule["succeededIndexes"]) if rule.get("succeededIndexes") else done
        needed = rule.get("succeededCount")
        if needed is None:
            needed = len(indexes.parse(rule.get("succeededIndexes")))
        if len(counted) >= needed:
            return f"Matched rules at index {number}"
    return ""
