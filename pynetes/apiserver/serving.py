"""A serving certificate for a server that was given none, from an authority of its own that clients may trust."""

import ipaddress
import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

from pynetes.apiserver.bootstrap import host_address
from pynetes.apiserver.config import Config
from pynetes.pki import files, issue, layout


def serving_certificate(config: Config) -> tuple[str, str]:
    """Paths of apiserver.crt and apiserver.key, made if they are not there yet."""
    folder = Path(config.cert_dir or (f"{config.data_dir}/certs" if config.data_dir else mkdtemp(prefix="pynetes-")))
    certificate, key = folder / "apiserver.crt", folder / "apiserver.key"
    if not (certificate.exists() and key.exists()):
        now = datetime.now(UTC)
        authority = issue.authority("apiserver-ca", now)
        wanted = layout.Leaf("apiserver", layout.CLUSTER_CA, "kube-apiserver", server=True, names=names(config))
        made = issue.leaf(wanted, authority, now)
        files.write(folder / "apiserver-ca.crt", authority.certificate_pem, mode=files.PUBLIC)
        files.write(certificate, made.certificate_pem + authority.certificate_pem, mode=files.PUBLIC)
        files.write(key, made.key_pem)
    return str(certificate), str(key)


def with_token_key(config: Config) -> Config:
    """The configuration with a key for ServiceAccount tokens, generated for an embedded store if none is given.

    Under --data-dir, else for as long as the objects in memory. Servers that share an etcd must be given the same."""
    if config.service_account_signing_key_file or (config.etcd_servers and not config.data_dir):
        return config
    path = Path(config.data_dir or config.cert_dir or mkdtemp(prefix="pynetes-")) / "sa.key"
    if not path.exists():
        files.write(path, issue.private_pem(issue.new_key()))
    return replace(config, service_account_signing_key_file=str(path))


def names(config: Config) -> layout.Names:
    """What the server may be called: every name in the cluster, this host, and the addresses."""
    first = ipaddress.ip_network(config.service_cluster_ip_range[0]).network_address + 1
    return layout.names(
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        socket.gethostname(),
        str(first),
        "127.0.0.1",
        config.advertise_address or host_address(config.bind_address),
    )
