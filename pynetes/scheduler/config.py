"""What the scheduler can be told, by upstream's flags."""

from dataclasses import dataclass

from pynetes.component.config import option


@dataclass(frozen=True, kw_only=True)
class Config:
    """The scheduler's configuration."""

    kubeconfig: str = option("--kubeconfig", "", "Kubeconfig with the API server and our identity; else the pod's own.")
    authentication_kubeconfig: str = option(
        "--authentication-kubeconfig", "", "Accepted for upstream's manifests; the own identity asks the API server."
    )
    authorization_kubeconfig: str = option(
        "--authorization-kubeconfig", "", "Accepted for upstream's manifests; the own identity asks the API server."
    )
    bind_address: str = option("--bind-address", "127.0.0.1", "The address that serves health and metrics.")
    secure_port: int = option("--secure-port", 10259, "The TCP port that serves health and metrics; 0 serves none.")
    tls_cert_file: str = option("--tls-cert-file", "", "Serving certificate (PEM); without one it is self-signed.")
    client_ca_file: str = option("--client-ca-file", "", "CA of client certificates that may read the metrics.")
    tls_private_key_file: str = option("--tls-private-key-file", "", "Key of the serving certificate (PEM).")
    leader_elect: bool = option("--leader-elect", True, "Work only while holding the Lease kube-system/kube-scheduler.")
    tracing_config_file: str = option(
        "--tracing-config-file", "", "A TracingConfiguration: where spans are sent over OTLP, and how many are begun."
    )
    paths_socket: str = option(
        "--paths-socket", "", "Unix socket on which `pynetes paths` reads what this process saw."
    )
    verbosity: int = option("-v", 0, "Verbosity of the log; 4 and more shows details.")
