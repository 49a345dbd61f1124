"""From an expression as it is checked to one that the runtime can evaluate.

The runtime takes no optionals from functions of ours, and lets nobody add to its own. So a call that gives an optional
gets [?0] behind it, which makes one of a list, and members that lists have as texts do are called by another name.
"""

import re

#: Strings of all kinds first: nothing in them is a call.
_TOKEN = re.compile(
    r"""(?P<text>(?:[rR]?[bB]?|[bB][rR])(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
    r"""|(?P<comment>//[^\n]*)|(?P<optional>\.\s*validate\s*\(|\bformat\s*\.\s*named\s*\()"""
    r"""|(?P<renamed>\.\s*(?P<name>indexOf|lastIndexOf)\s*\()|(?P<open>\()|(?P<close>\))""",
    re.DOTALL,
)
#: What lists and texts both have, as it is called here.
RENAMED = {"indexOf": "positionOf", "lastIndexOf": "lastPositionOf"}


def evaluable(source: str) -> str:
    """The expression for the runtime; the same text mostly."""
    if "ndexOf" not in source and "format" not in source:
        return source
    made, at = [], 0
    #: For each parenthesis that is open, what follows where it closes.
    behind: list[str] = []
    for token in _TOKEN.finditer(source):
        made.append(source[at : token.start()])
        at = token.end()
        kind = token.lastgroup
        if token["renamed"]:
            made.append(f".{RENAMED[token['name']]}(")
        else:
            made.append(token[0])
        if kind == "close":
            made.append(behind.pop() if behind else "")
        elif token["optional"] or token["renamed"] or kind == "open":
            behind.append("[?0]" if token["optional"] else "")
    return "".join([*made, source[at:]])
