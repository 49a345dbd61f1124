"""The API server's configuration: upstream's flags, as far as this server has what they set."""

from dataclasses import dataclass

from pynetes.component.config import option

#: What Go reads as a boolean.
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
#: The gates that change something here; what others are about is as upstream has it by default.
GATES = ("APIServerIdentity",)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Read from argv by pynetes/cmd/apiserver.py; built directly by tests and by the in-process cluster."""

    # Serving
    bind_address: str = option("--bind-address", "0.0.0.0", "The IP address to listen on; :: for all of both families.")
    secure_port: int = option("--secure-port", 6443, "The TCP port that serves HTTPS; 0 takes a free one.")
    workers: int = option(
        "--workers", 1, "Processes that share the port, each on a processor; more than one needs --etcd-servers."
    )
    advertise_address: str = option(
        "--advertise-address",
        "",
        "The IP address told to the cluster in the `kubernetes` Endpoints; the host's if empty.",
    )
    cert_dir: str = option("--cert-dir", "", "Where self-signed certificates are kept when none are given.")
    tls_cert_file: str = option("--tls-cert-file", "", "PEM file with the serving certificate and its intermediates.")
    tls_private_key_file: str = option("--tls-private-key-file", "", "PEM file with the key of --tls-cert-file.")
    max_connections_per_client: int = option(
        "--max-connections-per-client", 5000, "Connections of one address at once; more are closed. 0: no limit."
    )
    max_handshakes_per_client: int = option(
        "--max-handshakes-per-client",
        1000,
        "TLS handshakes of one address that are not over yet; more connections are closed. 0: no limit.",
    )
    tls_min_version: str = option(
        "--tls-min-version", "VersionTLS12", "The oldest TLS to speak: VersionTLS12 or VersionTLS13."
    )
    tls_sni_cert_key: tuple[str, ...] = option(
        "--tls-sni-cert-key",
        (),
        "CERT,KEY or CERT,KEY:NAME,NAME: a further certificate for clients who ask for one of its names.",
    )
    max_requests_inflight: int = option(
        "--max-requests-inflight", 400, "Reads served at once; more get 429. 0: no limit."
    )
    max_mutating_requests_inflight: int = option(
        "--max-mutating-requests-inflight", 200, "Writes served at once; more get 429. 0: no limit."
    )
    enable_priority_and_fairness: bool = option(
        "--enable-priority-and-fairness", True, "Serve flows by FlowSchemas and priority levels, not by one limit."
    )
    request_timeout: float = option("--request-timeout", 60.0, "Seconds a request may take, watches and streams apart.")
    min_request_timeout: int = option(
        "--min-request-timeout",
        1800,
        "Seconds a watch lives at least when the client sets no limit; at most twice that.",
    )
    shutdown_delay_duration: float = option(
        "--shutdown-delay-duration",
        0.0,
        "Seconds to keep serving, unready, after SIGTERM, for load balancers to notice.",
    )
    tracing_config_file: str = option(
        "--tracing-config-file", "", "A TracingConfiguration: where spans are sent over OTLP, and how many are begun."
    )
    paths_socket: str = option(
        "--paths-socket", "", "Unix socket on which `pynetes paths` reads what this process saw."
    )
    # Authentication
    client_ca_file: str = option("--client-ca-file", "", "PEM bundle; certificates signed by it name their user.")
    token_auth_file: str = option("--token-auth-file", "", 'CSV of static tokens: token,user,uid,"group1,group2".')
    anonymous_auth: bool = option("--anonymous-auth", True, "Let requests without credentials in as system:anonymous.")
    profiling: bool = option("--profiling", True, "Serve /debug/pprof and /debug/flags to those who may get them.")
    oidc_issuer_url: str = option("--oidc-issuer-url", "", "https URL of the issuer of OpenID Connect tokens.")
    oidc_client_id: str = option("--oidc-client-id", "", "The audience that such tokens must have.")
    oidc_ca_file: str = option("--oidc-ca-file", "", "PEM bundle that signs the issuer; the system's if empty.")
    oidc_username_claim: str = option("--oidc-username-claim", "sub", "The claim with the user's name.")
    oidc_username_prefix: str = option(
        "--oidc-username-prefix", "", "Put before names; - for none; the issuer's URL and # if empty, but for email."
    )
    oidc_groups_claim: str = option("--oidc-groups-claim", "", "The claim with the groups.")
    oidc_groups_prefix: str = option("--oidc-groups-prefix", "", "Put before groups.")
    oidc_required_claim: tuple[str, ...] = option(
        "--oidc-required-claim", (), "KEY=VALUE: claims that a token must have with this value."
    )
    authentication_config: str = option(
        "--authentication-config", "", "AuthenticationConfiguration: issuers of JWTs, and where anonymous may ask."
    )
    authentication_token_webhook_config_file: str = option(
        "--authentication-token-webhook-config-file", "", "Kubeconfig of the server that reviews tokens nobody knows."
    )
    authentication_token_webhook_cache_ttl: float = option(
        "--authentication-token-webhook-cache-ttl", 120.0, "Seconds for which its answers count."
    )
    authorization_webhook_config_file: str = option(
        "--authorization-webhook-config-file", "", "Kubeconfig of the server that mode Webhook asks."
    )
    authorization_webhook_cache_authorized_ttl: float = option(
        "--authorization-webhook-cache-authorized-ttl", 300.0, "Seconds for which a yes of it counts."
    )
    authorization_webhook_cache_unauthorized_ttl: float = option(
        "--authorization-webhook-cache-unauthorized-ttl", 30.0, "Seconds for which anything else of it counts."
    )
    api_audiences: tuple[str, ...] = option("--api-audiences", (), "Audiences of tokens; the issuer if empty.")
    service_account_issuer: tuple[str, ...] = option(
        "--service-account-issuer", ("https://kubernetes.default.svc",), "Issuers of tokens; the first one signs."
    )
    service_account_key_file: tuple[str, ...] = option(
        "--service-account-key-file", (), "PEM files whose public keys verify ServiceAccount tokens."
    )
    service_account_signing_key_file: str = option(
        "--service-account-signing-key-file", "", "PEM file of the private key that signs ServiceAccount tokens."
    )
    service_account_extend_token_expiration: bool = option(
        "--service-account-extend-token-expiration",
        True,
        "Give the tokens that pods get by default a year, with a note of when they should have been renewed.",
    )
    service_account_max_token_expiration: int = option(
        "--service-account-max-token-expiration", 0, "Longest life of a token in seconds; 0: no limit."
    )
    requestheader_client_ca_file: str = option(
        "--requestheader-client-ca-file", "", "PEM bundle that signs front proxies, whose headers name the user."
    )
    requestheader_allowed_names: tuple[str, ...] = option(
        "--requestheader-allowed-names", (), "Common names of front proxies; any name if empty."
    )
    requestheader_username_headers: tuple[str, ...] = option(
        "--requestheader-username-headers", ("X-Remote-User",), "Headers that hold the user's name."
    )
    requestheader_uid_headers: tuple[str, ...] = option(
        "--requestheader-uid-headers", (), "Headers that hold the user's UID, such as X-Remote-Uid."
    )
    requestheader_group_headers: tuple[str, ...] = option(
        "--requestheader-group-headers", ("X-Remote-Group",), "Headers that hold the groups."
    )
    requestheader_extra_headers_prefix: tuple[str, ...] = option(
        "--requestheader-extra-headers-prefix", ("X-Remote-Extra-",), "Prefixes of headers that hold extra values."
    )
    proxy_client_cert_file: str = option("--proxy-client-cert-file", "", "Certificate shown to aggregated API servers.")
    proxy_client_key_file: str = option("--proxy-client-key-file", "", "Key of --proxy-client-cert-file.")
    # Authorization and admission
    authorization_mode: tuple[str, ...] = option(
        "--authorization-mode",
        (),
        "Authorizers in order: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny. AlwaysAllow if empty.",
    )
    authorization_config: str = option(
        "--authorization-config",
        "",
        "AuthorizationConfiguration: authorizers in order, several webhooks among them. Not with --authorization-mode.",
    )
    enable_admission_plugins: tuple[str, ...] = option(
        "--enable-admission-plugins", (), "Admission plugins beside the default ones."
    )
    disable_admission_plugins: tuple[str, ...] = option(
        "--disable-admission-plugins", (), "Admission plugins to leave out of the default ones."
    )
    allow_privileged: bool = option("--allow-privileged", False, "Let pods run privileged containers.")
    service_account_projected_configmaps: tuple[str, ...] = option(
        "--service-account-projected-configmaps",
        ("openshift-service-ca.crt:service-ca.crt",),
        "NAME:KEY pairs: values of each namespace's ConfigMaps that pods find beside their token, as ca.crt is. Give an"
        " empty list where kubelets run and nobody publishes these ConfigMaps.",
    )
    # Audit
    audit_policy_file: str = option("--audit-policy-file", "", "Policy that says what is audited; none, nothing is.")
    audit_log_path: str = option("--audit-log-path", "", "File of audit events, one line of JSON each; - for stdout.")
    audit_log_maxage: int = option("--audit-log-maxage", 0, "Days that rotated audit logs are kept; 0: for ever.")
    audit_log_maxbackup: int = option("--audit-log-maxbackup", 0, "Rotated audit logs that are kept; 0: all.")
    audit_log_maxsize: int = option("--audit-log-maxsize", 0, "Megabytes at which the audit log is rotated; 0: 100.")
    audit_log_compress: bool = option("--audit-log-compress", False, "Keep rotated audit logs as .gz.")
    audit_webhook_config_file: str = option(
        "--audit-webhook-config-file", "", "Kubeconfig of the server that audit events are sent to."
    )
    audit_webhook_mode: str = option("--audit-webhook-mode", "batch", "batch: in the background, nobody waits.")
    audit_webhook_batch_buffer_size: int = option(
        "--audit-webhook-batch-buffer-size", 10000, "Events on their way; more are lost, and counted."
    )
    audit_webhook_batch_max_size: int = option("--audit-webhook-batch-max-size", 400, "Events sent at once.")
    audit_webhook_batch_max_wait: float = option(
        "--audit-webhook-batch-max-wait", 30.0, "Seconds that the first event of a batch waits for others."
    )
    audit_webhook_batch_throttle_qps: float = option("--audit-webhook-batch-throttle-qps", 10.0, "Batches a second.")
    audit_webhook_batch_throttle_burst: int = option(
        "--audit-webhook-batch-throttle-burst", 15, "Batches at once after a silence."
    )
    audit_webhook_initial_backoff: float = option(
        "--audit-webhook-initial-backoff", 10.0, "Seconds before a batch is sent again for the first time."
    )
    audit_webhook_truncate_enabled: bool = option(
        "--audit-webhook-truncate-enabled", False, "Cut what is larger than the next two flags say."
    )
    audit_webhook_truncate_max_batch_size: int = option(
        "--audit-webhook-truncate-max-batch-size", 10 << 20, "Bytes of a batch."
    )
    audit_webhook_truncate_max_event_size: int = option(
        "--audit-webhook-truncate-max-event-size", 100 << 10, "Bytes of an event; its objects are left out beyond."
    )
    audit_log_format: str = option("--audit-log-format", "json", "Format of the audit log: JSON only.")
    # Storage
    etcd_servers: tuple[str, ...] = option("--etcd-servers", (), "URLs of etcd members; SQLite in --data-dir if empty.")
    etcd_cafile: str = option("--etcd-cafile", "", "PEM bundle that verifies etcd's certificate.")
    etcd_certfile: str = option("--etcd-certfile", "", "Certificate shown to etcd.")
    etcd_keyfile: str = option("--etcd-keyfile", "", "Key of --etcd-certfile.")
    etcd_compaction_interval: float = option(
        "--etcd-compaction-interval", 300.0, "Seconds between compactions of the store's history; 0 means none."
    )
    encryption_provider_config: str = option(
        "--encryption-provider-config", "", "EncryptionConfiguration file: which resources the store keeps encrypted."
    )
    encryption_provider_config_automatic_reload: bool = option(
        "--encryption-provider-config-automatic-reload", False, "Take a change of that file up without a restart."
    )
    data_dir: str = option("--data-dir", "", "Directory of the embedded store and generated files; memory if empty.")
    # Cluster
    service_cluster_ip_range: tuple[str, ...] = option(
        "--service-cluster-ip-range", ("10.96.0.0/16",), "Networks of Services' cluster IPs: one per IP family."
    )
    service_node_port_range: str = option("--service-node-port-range", "30000-32767", "Ports of NodePort Services.")
    # Kubelets
    kubelet_client_certificate: str = option("--kubelet-client-certificate", "", "Certificate shown to kubelets.")
    kubelet_client_key: str = option("--kubelet-client-key", "", "Key of --kubelet-client-certificate.")
    kubelet_certificate_authority: str = option(
        "--kubelet-certificate-authority", "", "PEM bundle that verifies kubelets' serving certificates."
    )
    kubelet_preferred_address_types: tuple[str, ...] = option(
        "--kubelet-preferred-address-types",
        ("Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"),
        "Which of a node's addresses to dial, best first.",
    )
    aggregator_reject_forwarding_redirect: bool = option(
        "--aggregator-reject-forwarding-redirect", True, "Answer 502 where an aggregated server redirects its client."
    )
    event_ttl: float = option("--event-ttl", 3600.0, "Seconds for which events are kept.")
    default_not_ready_toleration_seconds: int = option(
        "--default-not-ready-toleration-seconds", 300, "Seconds that a pod stays on a node that is not ready."
    )
    default_unreachable_toleration_seconds: int = option(
        "--default-unreachable-toleration-seconds", 300, "Seconds that a pod stays on a node that cannot be reached."
    )
    # Accepted because every deployment sets them; what they choose is fixed here.
    storage_media_type: str = option("--storage-media-type", "application/json", "Encoding in the store: JSON only.")
    enable_bootstrap_token_auth: bool = option(
        "--enable-bootstrap-token-auth", False, "Authenticate nodes that join by tokens kept in kube-system Secrets."
    )
    feature_gates: tuple[str, ...] = option(
        "--feature-gates", (), "Name=true|false pairs. APIServerIdentity=false: no Lease of this server in kube-system."
    )
    v: int = option("-v", 0, "Verbosity of the log.")

    def gates(self) -> dict[str, bool]:
        """What --feature-gates says by name; the last one counts. Raises ValueError for what is no NAME=BOOL."""
        found = {}
        for pair in filter(None, self.feature_gates):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals:
                raise ValueError(f"missing bool value for {name}")
            if value not in (*_TRUE, *_FALSE):
                raise ValueError(
                    f'invalid value of {name}={value}, err: strconv.ParseBool: parsing "{value}": invalid syntax'
                )
            found[name] = value in _TRUE
        return found

    def enabled(self, feature: str) -> bool:
        """Whether no --feature-gates switches it off."""
        return self.gates().get(feature, True)
