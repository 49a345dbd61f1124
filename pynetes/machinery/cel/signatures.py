"""What the compiler is told of Kubernetes' functions while expressions are checked: with types that evaluation lacks.

A Quantity is carried as its text, but `quantity(a) == b` of a text b is a mistake, and is told where it is written. The
functions of cel-go's own libraries that upstream has not are not there: math, base64, cel.bind.
"""

from collections.abc import Iterator

from cel_expr_python import cel

from pynetes.machinery.cel import formats

_T = cel.Type
_PLAIN = {
    "bool": _T.BOOL, "int": _T.INT, "uint": _T.UINT, "double": _T.DOUBLE, "string": _T.STRING, "bytes": _T.BYTES,
    "timestamp": _T.TIMESTAMP, "duration": _T.DURATION, "dyn": _T.DYN,
}  # fmt: skip
_OPAQUE = {
    "Quantity": "kubernetes.Quantity", "URL": "kubernetes.URL", "Semver": "kubernetes.Semver", "IP": "net.IP",
    "CIDR": "net.CIDR", "Authorizer": "kubernetes.authorization.Authorizer",
    "Path": "kubernetes.authorization.PathCheck", "Group": "kubernetes.authorization.GroupCheck",
    "Resource": "kubernetes.authorization.ResourceCheck", "Decision": "kubernetes.authorization.Decision",
    "Format": "kubernetes.NamedFormat",
}  # fmt: skip
_WORDS = {"bool": "bool", "int": "int64", "uint": "uint64", "double": "double", "string": "string", "bytes": "bytes"}
_WORDS |= {"timestamp": "timestamp", "duration": "duration"}
_COMPARISONS = {"_<_": "less", "_<=_": "less_equals", "_>_": "greater", "_>=_": "greater_equals"}
_NUMBERS = ("int", "uint", "double")
_SUMMED = (*_NUMBERS, "duration")
_ORDERED = (*_NUMBERS, "bool", "duration", "timestamp", "string", "bytes")
#: What string() takes.
_SHOWN = (*_ORDERED, "IP", "CIDR")
#: What gives optionals, which only YAML can say.
_OPTIONALS = """functions:
- name: format.named
  overloads:
  - id: format_named
    args: [{type_name: string}]
    return: {type_name: optional_type, params: [{type_name: kubernetes.NamedFormat}]}
- name: validate
  overloads:
  - id: format_validate
    target: {type_name: kubernetes.NamedFormat}
    args: [{type_name: string}]
    return: {type_name: optional_type, params: [{type_name: list, params: [{type_name: string}]}]}
"""
#: "receiver.name(parameters) result", one a line; functions have no receiver.
_FUNCTIONS = """
quantity(string) Quantity
isQuantity(string) bool
Quantity.sign() int
Quantity.isGreaterThan(Quantity) bool
Quantity.isLessThan(Quantity) bool
Quantity.compareTo(Quantity) int
Quantity.asApproximateFloat() double
Quantity.asInteger() int
Quantity.isInteger() bool
Quantity.add(Quantity) Quantity
Quantity.add(int) Quantity
Quantity.sub(Quantity) Quantity
Quantity.sub(int) Quantity
semver(string) Semver
semver(string,bool) Semver
isSemver(string) bool
isSemver(string,bool) bool
Semver.isGreaterThan(Semver) bool
Semver.isLessThan(Semver) bool
Semver.compareTo(Semver) int
Semver.major() int
Semver.minor() int
Semver.patch() int
string.find(string) string
string.findAll(string) list(string)
string.findAll(string,int) list(string)
string.charAt(int) string
string.indexOf(string) int
string.indexOf(string,int) int
string.lastIndexOf(string) int
string.lastIndexOf(string,int) int
string.lowerAscii() string
string.upperAscii() string
string.replace(string,string) string
string.replace(string,string,int) string
string.split(string) list(string)
string.split(string,int) list(string)
string.substring(int) string
string.substring(int,int) string
string.trim() string
string.format(list(dyn)) string
strings.quote(string) string
jsonpatch.escapeKey(string) string
ip(string) IP
isIP(string) bool
ip.isCanonical(string) bool
IP.family() int
IP.isUnspecified() bool
IP.isLoopback() bool
IP.isLinkLocalMulticast() bool
IP.isLinkLocalUnicast() bool
IP.isGlobalUnicast() bool
cidr(string) CIDR
isCIDR(string) bool
CIDR.ip() IP
CIDR.containsIP(string) bool
CIDR.containsIP(IP) bool
CIDR.containsCIDR(string) bool
CIDR.containsCIDR(CIDR) bool
CIDR.masked() CIDR
CIDR.prefixLength() int
url(string) URL
isURL(string) bool
URL.getScheme() string
URL.getHost() string
URL.getHostname() string
URL.getPort() string
URL.getEscapedPath() string
URL.getQuery() map(string)
Authorizer.path(string) Path
Authorizer.group(string) Group
Authorizer.serviceAccount(string,string) Authorizer
Group.resource(string) Resource
Resource.subresource(string) Resource
Resource.namespace(string) Resource
Resource.name(string) Resource
Resource.fieldSelector(string) Resource
Resource.labelSelector(string) Resource
Path.check(string) Decision
Resource.check(string) Decision
Decision.errored() bool
Decision.error() string
Decision.allowed() bool
Decision.reason() string
"""


def functions() -> list[cel.FunctionDecl]:
    """All of them, for an environment that only checks."""
    found: dict[str, list[cel.Overload]] = {}
    for name, parameters, result, member in (
        *_read(),
        *_lists(),
        *((f"format.{name}", [], "Format", False) for name in formats.FORMATS),
        *(("string", [each], "string", False) for each in _SHOWN),
    ):
        overloads = found.setdefault(name, [])
        identity = (
            f"{parameters[0]}_to_string" if name == "string" else f"k8s_{name.replace('.', '_')}_{len(overloads)}"
        )
        types = [_type(each) for each in parameters]
        overloads.append(cel.Overload(identity, _type(result), types, member))
    return [cel.FunctionDecl(name, overloads) for name, overloads in found.items()]


def comparisons() -> list[cel.FunctionDecl]:
    """Numbers of different types can be compared, as upstream; the standard's checker does not know."""
    made = []
    for name, word in _COMPARISONS.items():
        pairs = [(each, each) for each in _WORDS] + [(a, b) for a in _NUMBERS for b in _NUMBERS if a != b]
        overloads = [
            cel.Overload(
                f"{word}_{_WORDS[one]}" + (f"_{_WORDS[two]}" if one != two else ""), _T.BOOL, [_type(one), _type(two)]
            )
            for one, two in pairs
        ]
        made.append(cel.FunctionDecl(name, overloads))
    return made


def configuration(*, checking: bool = False) -> str:
    """An environment's beginning, as YAML: without what is declared here, with the libraries that upstream has."""
    without = "".join(f'  - name: "{name}"\n' for name in (*_COMPARISONS, *(["string"] if checking else [])))
    extensions = "".join(f"- name: {name}\n" for name in ("two-var-comprehensions", "sets", "lists"))
    made = f"name: kubernetes\nstdlib:\n  exclude_functions:\n{without}extensions:\n{extensions}"
    return made + _OPTIONALS if checking else made


def _read() -> Iterator[tuple[str, list[str], str, bool]]:
    for line in _FUNCTIONS.split("\n"):
        if not line:
            continue
        signature, result = line.rsplit(" ", 1)
        head, _, rest = signature.partition("(")
        receiver, _, name = head.rpartition(".")
        parameters = [each for each in rest.removesuffix(")").split(",") if each]
        member = receiver in _OPAQUE or receiver in _PLAIN
        yield (name, [receiver, *parameters], result, True) if member else (head, parameters, result, False)


def _lists() -> Iterator[tuple[str, list[str], str, bool]]:
    for kind in _ORDERED:
        yield "isSorted", [f"list({kind})"], "bool", True
        yield "min", [f"list({kind})"], kind, True
        yield "max", [f"list({kind})"], kind, True
        yield "indexOf", [f"list({kind})", kind], "int", True
        yield "lastIndexOf", [f"list({kind})", kind], "int", True
    yield "join", ["list(string)"], "string", True
    yield "join", ["list(string)", "string"], "string", True
    for kind in _SUMMED:
        yield "sum", [f"list({kind})"], kind, True


def _type(name: str) -> cel.Type:
    outer, _, inner = name.removesuffix(")").partition("(")
    if inner:
        return _T.List(_type(inner)) if outer == "list" else _T.Map(_T.STRING, _T.List(_type(inner)))
    return _PLAIN[name] if name in _PLAIN else _T.AbstractType(_OPAQUE[name])
