"""Rules as nginx's tables: JSON texts by key, which the Lua modules look up.

    h:SCOPE:HOST   {"exact": {PATH: [N…]}, "prefix": {PATH without trailing /: [N…]},
                    "regex": [{path, pattern, rules}…],
                    "default": N, "rules": [RULE…], "policies": [POLICY…], "tls": bool}; N counts rules from 1,
                    a RULE's "policy" counts policies from 1
    b:NS/NAME:PORT [[ADDRESS, PORT]…]                     endpoints of a backend
    c:SCOPE:HOST   {"chain": PEM, "key": PEM}             certificates
    l:SCOPE        {HOST: LISTENER}                       a port with listeners; their scopes are SCOPE/LISTENER

HOST is a name, *.NAME, or * for all others.
"""

from typing import Any

import orjson

from pynetes.ingress.rules import EXACT, REGEX, Host, Rule


def of_host(host: Host) -> dict[str, Any]:
    """One host's table."""
    policies: dict[bytes, int] = {}
    shown: dict[str, Any] = {"exact": {}, "prefix": {}, "regex": [], "rules": [], "tls": host.tls}
    expressions: dict[str, dict[str, Any]] = {}
    for rule in sorted(host.rules, key=lambda rule: rule.precedence):
        shown["rules"].append(_rule(rule, policies))
        number = len(shown["rules"])
        if rule.kind == EXACT:
            shown["exact"].setdefault(rule.path, []).append(number)
        elif rule.kind == REGEX:
            pattern = rule.policy["pattern"]
            each = expressions.setdefault(pattern, {"path": rule.path, "pattern": pattern, "rules": []})
            each["rules"].append(number)
        else:
            shown["prefix"].setdefault(rule.path.rstrip("/"), []).append(number)
    if host.default is not None:
        shown["rules"].append(_rule(host.default, policies))
        shown["default"] = len(shown["rules"])
    shown["regex"] = sorted(expressions.values(), key=lambda each: (-len(each["path"]), each["pattern"]))
    shown["policies"] = [orjson.loads(text) for text in policies]
    return shown


def _rule(rule: Rule, policies: dict[bytes, int]) -> dict[str, Any]:
    policy = {name: value for name, value in rule.policy.items() if name != "pattern"}
    text = orjson.dumps({**policy, "location": rule.location.name}, option=orjson.OPT_SORT_KEYS)
    shown: dict[str, Any] = {
        "kind": rule.source.kind,
        "namespace": rule.source.namespace,
        "name": rule.source.name,
        "policy": policies.setdefault(text, len(policies) + 1),
        "backends": [backend.laid_out() for backend in rule.backends if backend.weight > 0],
        "sum": sum(backend.weight for backend in rule.backends),
    }
    if rule.match:
        shown["match"] = rule.match
    if rule.canaries:
        shown["canaries"] = rule.canaries
    return shown
