"""What a Job's spec may not be, in a Job or in a CronJob."""

from collections.abc import Iterator

from pynetes.apis.core import _pod_validation
from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_MODES, _ACTIONS = ("NonIndexed", "Indexed"), ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS, _STATUSES = ("In", "NotIn"), ("False", "True", "Unknown")
_REPLACEMENTS, _RESTARTS = ("Failed", "TerminatingOrFailed"), ("OnFailure", "Never")
_RULES, _CONDITIONS, _VALUES, _MOST_FAILED, _MANAGER = 20, 20, 255, 100_000, 63
_MOST_PODS, _MANY, _FEW = 100_000, 100_000, 10_000


def spec_problems(spec: Object, path: str) -> Errors:
    """Counts, modes, policies and the template."""
    for name in _COUNTS:
        yield from validation.non_negative(spec.get(name), f"{path}.{name}")
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        yield field.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if (manager := spec.get("managedBy")) is not None:
        yield from validation.domain_prefixed_path(manager, f"{path}.managedBy")
        if len(manager) > _MANAGER:
            yield field.too_long(f"{path}.managedBy", _MANAGER)
    mode = spec.get("completionMode") or "NonIndexed"
    yield from validation.one_of(mode, f"{path}.completionMode", _MODES)
    if mode == "Indexed":
        yield from _indexed(spec, path)
    if mode == "NonIndexed":
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                yield field.invalid(f"{path}.{name}", spec[name], "requires indexed completion mode")
    if (policy := spec.get("podFailurePolicy")) is not None:
        yield from _failure_policy(policy, spec, f"{path}.podFailurePolicy")
    if (success := spec.get("successPolicy")) is not None:
        if mode != "Indexed":
            shown = {"Rules": [_shown(rule) for rule in success.get("rules") or ()] or None}
            yield field.invalid(f"{path}.successPolicy", shown, "requires indexed completion mode")
        else:
            yield from _success_policy(success, spec, f"{path}.successPolicy")
    yield from _replacement(spec, f"{path}.podReplacementPolicy")
    template = spec.get("template") or {}
    yield from _pod_validation.validate_template(template, f"{path}.template")
    yield from _restart(template, spec, f"{path}.template.spec.restartPolicy")


def _shown(rule: Object) -> Object:
    return {"SucceededIndexes": rule.get("succeededIndexes"), "SucceededCount": rule.get("succeededCount")}


def _indexed(spec: Object, path: str) -> Errors:
    """Bounds of Jobs that count their pods by index."""
    completions: int | None = spec.get("completions")
    parallelism: int | None = spec.get("parallelism")
    failed: int | None = spec.get("maxFailedIndexes")
    if completions is None:
        yield field.required(f"{path}.completions", "when completion mode is Indexed")
    if (parallelism or 0) > _MOST_PODS:
        detail = f"must be less than or equal to {_MOST_PODS} when completion mode is Indexed"
        yield field.invalid(f"{path}.parallelism", parallelism, detail)
    if completions is not None and failed is not None and failed > completions:
        yield field.invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")
    if (failed or 0) > _MOST_FAILED:
        yield field.invalid(f"{path}.maxFailedIndexes", failed, f"must be less than or equal to {_MOST_FAILED}")
    if (completions or 0) <= _MANY or spec.get("backoffLimitPerIndex") is None:
        return
    if failed is None:
        detail = f"must be specified when completions is above {_MANY}"
        yield field.required(f"{path}.maxFailedIndexes", detail)
    for name, value in (("parallelism", parallelism), ("maxFailedIndexes", failed)):
        if (value or 0) > _FEW:
            detail = f"must be less than or equal to {_FEW} when completions are above {_MANY} "
            yield field.invalid(f"{path}.{name}", value, f"{detail}and used with backoff limit per index")


def _replacement(spec: Object, path: str) -> Errors:
    policy = spec.get("podReplacementPolicy")
    allowed = _REPLACEMENTS if spec.get("podFailurePolicy") is None else _REPLACEMENTS[:1]
    if policy is not None and policy not in allowed:
        yield field.not_supported(path, policy, allowed)


def _restart(template: Object, spec: Object, path: str) -> Errors:
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy in (None, "", "Always"):
        yield field.required(path, f"valid values: {field.listed(_RESTARTS)}")
    elif policy not in _RESTARTS:
        yield field.not_supported(path, policy, _RESTARTS)
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        yield field.invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


def _failure_policy(policy: Object, spec: Object, path: str) -> Errors:
    rules, pod = policy.get("rules") or (), (spec.get("template") or {}).get("spec") or {}
    if len(rules) > _RULES:
        yield field.too_many(f"{path}.rules", len(rules), _RULES)
    named = {each.get("name") for kind in ("initContainers", "containers") for each in pod.get(kind) or ()}
    for index, rule in enumerate(rules):
        yield from _failure_rule(rule, f"{path}.rules[{index}]", named, spec)


def _failure_rule(rule: Object, path: str, named: set[str], spec: Object) -> Errors:
    action, codes, conditions = rule.get("action") or "", rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    if not action:
        yield field.required(f"{path}.action", f"valid values: {_go_list(_ACTIONS)}")
    elif action not in _ACTIONS:
        yield field.not_supported(f"{path}.action", action, _ACTIONS)
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        yield field.invalid(f"{path}.action", action, "requires the backoffLimitPerIndex to be set")
    if codes is not None:
        yield from _exit_codes(codes, f"{path}.onExitCodes", named)
    if len(conditions) > _CONDITIONS:
        yield field.too_many(f"{path}.onPodConditions", len(conditions), _CONDITIONS)
    for index, condition in enumerate(conditions):
        place = f"{path}.onPodConditions[{index}]"
        yield from validation.checked(condition.get("type") or "", f"{place}.type", names.qualified_name)
        if not condition.get("status"):
            yield field.required(f"{place}.status", f"valid values: {_go_list(_STATUSES)}")
        elif condition["status"] not in _STATUSES:
            yield field.not_supported(f"{place}.status", condition["status"], _STATUSES)
    detail = ""
    if codes is not None and conditions:
        detail = "specifying both OnExitCodes and OnPodConditions is not supported"
    elif codes is None and not conditions:
        detail = "specifying one of OnExitCodes and OnPodConditions is required"
    if detail:
        yield field.Error("FieldValueInvalid", path, f"Invalid value: {detail}")


def _go_list(choices: tuple[str, ...]) -> str:
    return f"[{' '.join(map(field.quote, choices))}]"


def _exit_codes(codes: Object, path: str, named: set[str]) -> Errors:
    operator, values, name = codes.get("operator") or "", codes.get("values") or [], codes.get("containerName")
    if not operator:
        yield field.required(f"{path}.operator", f"valid values: {_go_list(_OPERATORS)}")
    elif operator not in _OPERATORS:
        yield field.not_supported(f"{path}.operator", operator, _OPERATORS)
    if name is not None and name not in named:
        detail = "must be one of the container or initContainer names in the pod template"
        yield field.invalid(f"{path}.containerName", name, detail)
    if not values:
        yield field.invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > _VALUES:
        yield field.too_many(f"{path}.values", len(values), _VALUES)
    for number, value in enumerate(values):
        if value == 0 and operator == "In":
            yield field.invalid(f"{path}.values[{number}]", value, "must not be 0 for the In operator")
        if value in values[:number]:
            yield field.duplicate(f"{path}.values[{number}]", value)
    if values != sorted(values):
        yield field.invalid(f"{path}.values", values, "must be ordered")


def _success_policy(policy: Object, spec: Object, path: str) -> Errors:
    rules, completions = policy.get("rules") or (), spec.get("completions") or 0
    if not rules:
        detail = "at least one rules must be specified when the successPolicy is specified"
        yield field.required(f"{path}.rules", detail)
    if len(rules) > _RULES:
        yield field.too_many(f"{path}.rules", len(rules), _RULES)
    for index, rule in enumerate(rules):
        yield from _success_rule(rule, f"{path}.rules[{index}]", completions)


def _success_rule(rule: Object, path: str, completions: int) -> Errors:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if indexes is None and count is None:
        yield field.required(path, "at least one of succeededCount or succeededIndexes must be specified")
    named = 0
    if indexes is not None:
        try:
            named = _counted(indexes, completions)
        except ValueError as error:
            yield field.invalid(f"{path}.succeededIndexes", indexes, f"error parsing succeededIndexes: {error}")
    if count is None:
        return
    place, most = f"{path}.succeededCount", "must be less than or equal to"
    yield from validation.non_negative(count, place)
    if count > completions:
        yield field.invalid(place, count, f"{most} {completions} (the number of specified completions)")
    if indexes is not None and count > named:
        detail = f"{most} {named} (the number of indexes in the specified succeededIndexes field)"
        yield field.invalid(place, count, detail)


def _counted(text: str, completions: int) -> int:
    """How many indexes 1,3-5 names. Raises ValueError."""
    found, last = 0, -1
    for fragment in text.split(",") if text else ():
        ends = fragment.split("-")
        if len(ends) > 2:
            rule = "violates the requirement that an index interval can have at most two parts separated by '-'"
            raise ValueError(f"the fragment {field.quote(fragment)} {rule}")
        numbers = []
        for end in ends:
            if not end.isdigit():
                raise ValueError(f"cannot convert string to integer for index: {field.quote(end)}")
            if int(end) >= completions:
                raise ValueError(f"too large index: {field.quote(end)}")
            if int(end) <= last:
                raise ValueError(f"non-increasing order, previous: {last}, current: {int(end)}")
            last = int(end)
            numbers.append(last)
        found += numbers[-1] - numbers[0] + 1
    return found
