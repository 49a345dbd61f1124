"""Whether GatewayClasses and Gateways can be served as they are written, and what their conditions say of it.

What is not offered here is told, never passed over: a Gateway that asks for clients' certificates and is served without
checking them would be open.
"""

from collections.abc import Sequence

from pynetes.ingress.gateway.conditions import Condition
from pynetes.ingress.gateway.listeners import Listener
from pynetes.machinery.meta import Object

#: On the API's CustomResourceDefinitions: which release of the API they are from.
BUNDLE = "gateway.networking.k8s.io/bundle-version"
#: Releases whose v1 is what is served here; those before have no ReferenceGrant of v1.
SUPPORTED = ("v1.5.", "v1.6.")
#: Features that hold beyond the core of Gateway, HTTPRoute and GRPCRoute, under the names of the API's conformance
#: profiles; docs/gateway-conformance.md has a test for each.
FEATURES = (
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
)


def version(definition: Object) -> str:
    """Which release of the API a CustomResourceDefinition is from, "" where it does not say."""
    return str((definition["metadata"].get("annotations") or {}).get(BUNDLE) or "")


def of_class(gateway_class: Object, versions: frozenset[str]) -> list[Condition]:
    """A GatewayClass's conditions."""
    accepted = Condition("Accepted", True, "Accepted")
    if gateway_class["spec"].get("parametersRef"):
        accepted = Condition("Accepted", False, "InvalidParameters", "spec.parametersRef: no parameters are supported")
    other = sorted(each or "(none)" for each in versions if not each.startswith(SUPPORTED))
    if not other:
        return [accepted, Condition("SupportedVersion", True, "SupportedVersion")]
    message = f"CustomResourceDefinitions are of {', '.join(other)}; supported are {', '.join(SUPPORTED)}x"
    return [accepted, Condition("SupportedVersion", False, "UnsupportedVersion", message.replace(".,", ".x,"))]


def refused(gateway: Object, of_its_class: Sequence[Condition] = ()) -> Condition | None:
    """Why a Gateway is not accepted whatever its listeners are; None when nothing speaks against it."""
    spec = gateway["spec"]
    for condition in of_its_class:
        if condition.type == "Accepted" and not condition.holds:
            message = f"the GatewayClass {spec['gatewayClassName']} is not accepted: {condition.message}"
            return Condition("Accepted", False, condition.reason, message)
    if (spec.get("infrastructure") or {}).get("parametersRef"):
        message = "spec.infrastructure.parametersRef: no parameters are supported"
        return Condition("Accepted", False, "InvalidParameters", message)
    if any((each.get("type") or "IPAddress") != "IPAddress" for each in spec.get("addresses") or ()):
        message = "spec.addresses: only those of the type IPAddress can be chosen"
        return Condition("Accepted", False, "UnsupportedAddress", message)
    if any((spec.get("tls") or {}).values()):
        message = "spec.tls: certificates of clients are not checked, and none is shown to backends"
        return Condition("Accepted", False, "Invalid", message)
    return None


def of_gateway(accepted: Condition | None, found: Sequence[Listener]) -> list[Condition]:
    """A Gateway's conditions; accepted: why it is not, if `refused` says so. Otherwise one valid listener is enough for
    it to be accepted, and one usable to be programmed."""
    usable = [each for each in found if each.usable]
    if accepted is None:
        wrong = ", ".join(each.name for each in found if not each.usable)
        reason, message = ("ListenersNotValid", f"not valid: {wrong}") if wrong else ("Accepted", "")
        accepted = Condition("Accepted", any(each.accepted for each in found), reason, message)
    programmed = Condition("Programmed", bool(usable), "Programmed" if usable else "Invalid")
    return [accepted, programmed]
