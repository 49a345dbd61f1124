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


def misnamed(expression: str) -> str:
    """What upstream says of types that are not named by the field they stand in, as in Object{a: Object.b{}}; "" if
    nothing."""
    wrong: list[str] = []
    #: For each bracket that is open: the path of what it holds, and whether it is a constructor.
    nesting: list[tuple[list[str], bool]] = []
    member = ""
    for token in _TOKEN.finditer(expression):
        outer, made = nesting[-1] if nesting else ([], False)
        path = [*outer, member] if made else outer
        if token["make"]:
            name = token["make"].rstrip("{ \n\t")
            if path and ".".join(path) != name:
                expected = ".".join(path)
                wrong.append(
                    f'unexpected type name "{name}", expected "{expected}", which matches field name path from root'
                    " Object type"
                )
            nesting.append((path or [name], True))
        elif token["open"]:
            nesting.append((path, False))
        elif token["close"] and nesting:
            nesting.pop()
        elif token["field"] and made and _begins_member(expression, token.start()):
            member = token["field"]
    return "\n".join(wrong)
