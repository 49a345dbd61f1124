"""Expressions that construct objects: `Object{spec: Object.spec{replicas: 3}}`, `JSONPatch{op: "add", …}`.

The runtime knows no such types, so that constructors are rewritten as maps before they are compiled.
"""

import re

_TOKEN = re.compile(
    r"""(?P<text>[rRbB]*(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"))"""
    r"""|(?P<make>\b(?:Object(?:\.[A-Za-z_]\w*)*|JSONPatch)\s*\{)|(?P<open>[{\[(])|(?P<close>[}\])])"""
    r"""|(?P<field>\b[A-Za-z_]\w*(?=\s*:))""",
    re.DOTALL,
)


def as_maps(expression: str) -> str:
    """The expression with constructors written as maps."""
    out, last = [], 0
    nesting: list[bool] = []
    for token in _TOKEN.finditer(expression):
        out.append(expression[last : token.start()])
        last, text = token.end(), token[0]
        if token["make"]:
            nesting.append(True)
            text = "{"
        elif token["open"]:
            nesting.append(False)
        elif token["close"]:
            if nesting:
                nesting.pop()
        elif token["field"] and nesting and nesting[-1] and _begins_member(expression, token.start()):
            text = f'"{text}"'
        out.append(text)
    return "".join([*out, expression[last:]])


def _begins_member(expression: str, at: int) -> bool:
    """Whether a name stands where a field's does, and not after the ? of a condition."""
    before = expression[:at].rstrip()
    return before.endswith(("{", ",", "{?", ",?"))
