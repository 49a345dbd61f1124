"""Every handler and strategy, by what it serves."""

from collections.abc import Mapping

from pynetes.apiserver.registry import binding, certificates, claims, eviction, rbac, reviews, services, token
from pynetes.apiserver.registry.call import Handler, Strategy

AUTHENTICATION, AUTHORIZATION, RBAC = "authentication.k8s.io", "authorization.k8s.io", "rbac.authorization.k8s.io"

#: (group, plural, subresource, verb) → handler; verb is create, update or get. Reviews have subresource "".
HANDLERS: Mapping[tuple[str, str, str, str], Handler] = {
    ("", "bindings", "", "create"): binding.create,
    ("", "pods", "binding", "create"): binding.create,
    ("", "pods", "eviction", "create"): eviction.create,
    ("", "serviceaccounts", "token", "create"): token.create,
    (AUTHENTICATION, "tokenreviews", "", "create"): reviews.token_review,
    (AUTHENTICATION, "selfsubjectreviews", "", "create"): reviews.self_subject_review,
    (AUTHORIZATION, "subjectaccessreviews", "", "create"): reviews.subject_access_review,
    (AUTHORIZATION, "localsubjectaccessreviews", "", "create"): reviews.local_subject_access_review,
    (AUTHORIZATION, "selfsubjectaccessreviews", "", "create"): reviews.self_subject_access_review,
    (AUTHORIZATION, "selfsubjectrulesreviews", "", "create"): reviews.self_subject_rules_review,
}

#: (group, plural) → what runs around create, update and delete.
STRATEGIES: Mapping[tuple[str, str], Strategy] = {
    ("", "services"): services.ServiceStrategy(),
    ("certificates.k8s.io", "certificatesigningrequests"): certificates.RequestStrategy(),
    ("resource.k8s.io", "resourceclaims"): claims.ClaimStrategy(),
    ("resource.k8s.io", "resourceclaimtemplates"): claims.ClaimStrategy(),
    (RBAC, "roles"): rbac.RoleStrategy(),
    (RBAC, "clusterroles"): rbac.RoleStrategy(),
    (RBAC, "rolebindings"): rbac.BindingStrategy(),
    (RBAC, "clusterrolebindings"): rbac.BindingStrategy(),
}
