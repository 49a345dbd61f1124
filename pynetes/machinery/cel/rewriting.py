"""From an expression as it is checked to one that the runtime can evaluate.

The runtime takes no optionals from functions of ours, and lets nobody add to its own. So a call that gives an optional
gets [?0] behind it, which makes one of a list, and members that lists have as texts do are called by another name. It
knows the macros that make maps, but not what they stand on: a list of pairs, or of maps, is made one by a function of
ours.
"""

import re
from dataclasses import dataclass, field

#: Strings of all kinds first: nothing in them is a call.
_TOKEN = re.compile(
    r"""(?P<text>(?:[rR]?[bB]?|[bB][rR])(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
    r"""|(?P<comment>//[^\n]*)|(?P<optional>\.\s*validate\s*\(|\bformat\s*\.\s*named\s*\()"""
    r"""|(?P<renamed>\.\s*(?P<name>indexOf|lastIndexOf)\s*\()|\.\s*(?P<made>transformMap|transformMapEntry)\s*\("""
    r"""|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<comma>,)""",
    re.DOTALL,
)
#: What lists and texts both have, as it is called here.
RENAMED = {"indexOf": "positionOf", "lastIndexOf": "lastPositionOf"}
#: What makes a map of the list that transformList gives in place of these.
MADE = {"transformMap": "mapOfPairs", "transformMapEntry": "mapOfEntries"}


@dataclass(slots=True)
class _Open:
    """A bracket that is open: what follows where it closes, and where its commas are among the pieces."""

    behind: str = ""
    #: The name of the macro that is made a list.
    macro: str = ""
    begin: int = 0
    commas: list[int] = field(default_factory=list)


def evaluable(source: str) -> str:
    """The expression for the runtime; the same text mostly."""
    if "ndexOf" not in source and "format" not in source and "transformMap" not in source:
        return source
    made: list[str] = []
    at = 0
    opened: list[_Open] = []
    for token in _TOKEN.finditer(source):
        made.append(source[at : token.start()])
        at = token.end()
        if macro := token["made"]:
            made.append(".transformList(")
            opened.append(_Open(f".{MADE[macro]}()", macro, len(made)))
        elif token["renamed"]:
            made.append(f".{RENAMED[token['name']]}(")
            opened.append(_Open())
        elif token["close"]:
            _close(made, opened.pop() if opened else _Open(), token[0])
        else:
            if token["comma"] and opened:
                opened[-1].commas.append(len(made))
            made.append(token[0])
            if token["optional"] or token["open"]:
                opened.append(_Open("[?0]" if token["optional"] else ""))
    return "".join([*made, source[at:]])


def _close(made: list[str], bracket: _Open, closing: str) -> None:
    """Ends what the bracket holds. What transformMap gives for a key becomes a pair with it: [key, value]."""
    if bracket.macro == "transformMap" and bracket.commas:
        key = "".join(made[bracket.begin : bracket.commas[0]]).strip()
        made[bracket.commas[-1]] = f", [{key},"
        closing = f"]{closing}"
    made.append(closing + bracket.behind)
