"""What a container's security context becomes on its way to the runtime."""

from typing import Any

import pytest

from pynetes.apis.core import _security_validation
from pynetes.kubelet import security
from pynetes.rpc.cri import runtime_v1_pb2 as pb


def context(own: dict[str, Any], whole: dict[str, Any] | None = None) -> pb.LinuxContainerSecurityContext:
    """Of one container with this context, in a pod with that one."""
    container = {"name": "c", "securityContext": own}
    pod = {"metadata": {"name": "p"}, "spec": {"securityContext": whole or {}, "containers": [container]}}
    return security.of_container(pod, container, None)


def test_proc_is_masked_unless_said_otherwise() -> None:
    """procMount Default and none at all hide the same; Unmasked hides nothing."""
    assert "/proc/kcore" in context({}).masked_paths
    assert context({"procMount": "Default"}).masked_paths == context({}).masked_paths
    assert "/proc/sys" in context({}).readonly_paths
    unmasked = context({"procMount": "Unmasked"})
    assert not unmasked.masked_paths
    assert not unmasked.readonly_paths


def test_an_unmasked_proc_needs_a_user_namespace() -> None:
    """Else it would be the node's own."""
    unmasked = {"procMount": "Unmasked"}
    (refused,) = _security_validation.validate_container(unmasked, "c", host_users=True)
    assert "`hostUsers` must be false" in str(refused)
    assert not list(_security_validation.validate_container(unmasked, "c", host_users=False))


@pytest.mark.parametrize(
    ("profile", "kind", "local"),
    [
        ({"type": "RuntimeDefault"}, pb.SecurityProfile.RuntimeDefault, ""),
        ({"type": "Unconfined"}, pb.SecurityProfile.Unconfined, ""),
        ({"type": "Localhost", "localhostProfile": "shop"}, pb.SecurityProfile.Localhost, "shop"),
    ],
)
def test_apparmor_profiles_reach_the_runtime(profile: dict[str, Any], kind: int, local: str) -> None:
    """The container's own before the pod's."""
    for own, whole in (({"appArmorProfile": profile}, {"appArmorProfile": {"type": "Unconfined"}}), ({}, None)):
        made = context(own, whole or {"appArmorProfile": profile})
        assert made.apparmor.profile_type == kind
        assert made.apparmor.localhost_ref == local
