"""Command lines that were written for kube-apiserver."""

import dataclasses

import pytest

from pynetes.apiserver.config import Config
from pynetes.apiserver.idle_flags import IDLE
from pynetes.component.config import parse

TEST_ENVIRONMENT = (
    "--advertise-address=127.0.0.1 --allow-privileged=true --authorization-mode=RBAC --bind-address=127.0.0.1"
    " --cert-dir=/tmp/x --disable-admission-plugins=ServiceAccount --etcd-servers=http://127.0.0.1:2379"
    " --secure-port=40000 --service-account-issuer=https://127.0.0.1:40000/"
    " --service-account-key-file=/tmp/x/sa.pub --service-account-signing-key-file=/tmp/x/sa.key"
    " --service-cluster-ip-range=10.0.0.0/24 --client-ca-file=/tmp/x/ca.crt"
)
IN_CONTAINERS = (
    "--advertise-address=172.18.0.2 --allow-privileged=true --authorization-mode=Node,RBAC"
    " --client-ca-file=/etc/kubernetes/pki/ca.crt --enable-admission-plugins=NodeRestriction"
    " --enable-bootstrap-token-auth=true --etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt"
    " --etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt"
    " --etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key --etcd-servers=https://127.0.0.1:2379"
    " --kubelet-client-certificate=/etc/kubernetes/pki/apiserver-kubelet-client.crt"
    " --kubelet-client-key=/etc/kubernetes/pki/apiserver-kubelet-client.key"
    " --kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname"
    " --proxy-client-cert-file=/etc/kubernetes/pki/front-proxy-client.crt"
    " --proxy-client-key-file=/etc/kubernetes/pki/front-proxy-client.key"
    " --requestheader-allowed-names=front-proxy-client"
    " --requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt"
    " --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group"
    " --requestheader-username-headers=X-Remote-User --runtime-config= --secure-port=6443"
    " --service-account-issuer=https://kubernetes.default.svc.cluster.local"
    " --service-account-key-file=/etc/kubernetes/pki/sa.pub"
    " --service-account-signing-key-file=/etc/kubernetes/pki/sa.key --service-cluster-ip-range=10.96.0.0/16"
    " --tls-cert-file=/etc/kubernetes/pki/apiserver.crt --tls-private-key-file=/etc/kubernetes/pki/apiserver.key --v=2"
)


@pytest.mark.parametrize("line", [TEST_ENVIRONMENT, IN_CONTAINERS], ids=["a test environment's", "kubeadm's"])
def test_known_command_lines_are_taken_silently(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what they say."""
    given = parse(Config, line.split(), prog="apiserver", idle=IDLE)
    assert given.etcd_servers and given.secure_port in (40000, 6443)
    assert capsys.readouterr().err == ""


def test_no_flag_is_idle_and_used() -> None:
    """Whoever gives a flag a meaning takes it from the table."""
    used = {item.metadata["flag"].lstrip("-") for item in dataclasses.fields(Config)}
    assert not used & IDLE.keys()
    assert all(flag.instead and not flag.instead.endswith(".") for flag in IDLE.values())
