"""Upstream's flags that this server takes and that set nothing here, so that command lines of kube-apiserver work.

A flag that asks for what is the case anyway is taken silently; one that tunes what does not exist here is told of in a
warning; one whose promise would not be kept ends the start.
"""

from pynetes.component.config import Idle

_CACHE = "reads are always served from the watch cache, which holds everything"
_LOG = "logs are klog's text on stderr; -v sets how much"
_HTTP2 = "HTTP/1.1 is served; clients open as many connections as they need"
_METRICS = "all metrics are served, with all labels"
_ETCD = "etcd is watched by one stream, which notices by itself when it is gone"
_AUDIT = "audit events are written as they are, in batches of what waits"
_PEER = "every server serves every version: requests are never handed to another one"
_GONE = "it is deprecated and without use upstream too"
_TRUE, _FALSE = ("true", "True", "1"), ("false", "False", "0")

IDLE = {
    "allow-metric-labels": Idle(_METRICS),
    "allow-metric-labels-manifest": Idle(_METRICS),
    "apiserver-count": Idle(_GONE),
    "audit-log-batch-buffer-size": Idle(_AUDIT),
    "audit-log-batch-max-size": Idle(_AUDIT),
    "audit-log-batch-max-wait": Idle(_AUDIT),
    "audit-log-batch-throttle-burst": Idle(_AUDIT),
    "audit-log-batch-throttle-enable": Idle(_AUDIT),
    "audit-log-batch-throttle-qps": Idle(_AUDIT),
    "audit-log-mode": Idle(_AUDIT),
    "audit-log-truncate-enabled": Idle("events in the log are whole", _FALSE),
    "audit-log-truncate-max-batch-size": Idle("events in the log are whole"),
    "audit-log-truncate-max-event-size": Idle("events in the log are whole"),
    "audit-log-version": Idle("events are of audit.k8s.io/v1", ("audit.k8s.io/v1",), True),
    "audit-webhook-version": Idle("events are of audit.k8s.io/v1", ("audit.k8s.io/v1",), True),
    "audit-webhook-batch-throttle-enable": Idle("batches are throttled", _TRUE),
    "authentication-token-webhook-version": Idle("reviews are of v1", ("v1",), True),
    "authorization-webhook-version": Idle("reviews are of v1", ("v1",), True),
    "cloud-config": Idle(_GONE),
    "cloud-provider": Idle("clouds have a controller manager of their own", ("", "external"), True),
    "contention-profiling": Idle("there are no locks to profile", _FALSE),
    "coordinated-leadership-lease-duration": Idle("leaders elect themselves"),
    "coordinated-leadership-renew-deadline": Idle("leaders elect themselves"),
    "coordinated-leadership-retry-period": Idle("leaders elect themselves"),
    "debug-socket-path": Idle("profiles are at /debug/pprof"),
    "default-watch-cache-size": Idle(_CACHE),
    "admission-control-config-file": Idle("plugins are configured by objects and flags", ("",), True),
    "authorization-policy-file": Idle("there is no ABAC mode: use RBAC", ("",), True),
    "cors-allowed-origins": Idle("browsers of other origins are not let in", ("",), True),
    "delete-collection-workers": Idle("a collection is deleted in one go"),
    "disable-http2-serving": Idle(_HTTP2, _TRUE),
    "disabled-metrics": Idle(_METRICS),
    "egress-selector-config-file": Idle("connections are made by this server itself", ("",), True),
    "emulated-version": Idle("this is Kubernetes 1.36", ("1.36",), True),
    "enable-aggregator-routing": Idle("requests go to the Service's endpoints", _TRUE),
    "enable-garbage-collector": Idle("deletions wait for the garbage collector", _TRUE, True),
    "enable-logs-handler": Idle("logs are not served", _FALSE),
    "endpoint-reconciler-type": Idle("servers have Leases", ("lease",)),
    "etcd-count-metric-poll-period": Idle("objects are counted as they come and go"),
    "etcd-db-metric-poll-interval": Idle("etcd is asked when the metric is"),
    "etcd-healthcheck-timeout": Idle(_ETCD),
    "etcd-prefix": Idle("objects are kept below /registry", ("/registry",), True),
    "etcd-readycheck-timeout": Idle(_ETCD),
    "etcd-servers-overrides": Idle("all objects are in one etcd", ("",), True),
    "external-hostname": Idle("documents name no host"),
    "goaway-chance": Idle(_HTTP2, ("0",)),
    "http2-max-streams-per-connection": Idle(_HTTP2),
    "kubelet-port": Idle(_GONE),
    "kubelet-read-only-port": Idle(_GONE),
    "kubelet-timeout": Idle("a kubelet has as long as the request has"),
    "kubernetes-service-node-port": Idle("the Service kubernetes has no node port", ("0",), True),
    "lease-reuse-duration-seconds": Idle("events share leases by their lifetime"),
    "livez-grace-period": Idle("livez is true from the first moment"),
    "log-flush-frequency": Idle(_LOG),
    "log-json-info-buffer-size": Idle(_LOG),
    "log-json-split-stream": Idle(_LOG),
    "log-text-info-buffer-size": Idle(_LOG),
    "log-text-split-stream": Idle(_LOG),
    "logging-format": Idle(_LOG, ("text",)),
    "logtostderr": Idle(_LOG, _TRUE),
    "min-compatibility-version": Idle("this is Kubernetes 1.36", ("1.36",)),
    "max-resource-write-bytes": Idle("bodies have a limit of 3 MiB"),
    "peer-advertise-ip": Idle(_PEER),
    "peer-advertise-port": Idle(_PEER),
    "peer-ca-file": Idle(_PEER),
    "permit-address-sharing": Idle("the port can be used again at once", _TRUE),
    "permit-port-sharing": Idle("--workers share the port"),
    "oidc-signing-algs": Idle("every algorithm of upstream's list is taken, with keys of its kind", ("RS256",)),
    "runtime-config": Idle("every version of 1.36's defaults is served", ("", "api/all=true", "api/ga=true")),
    "runtime-config-emulation-forward-compatible": Idle("no older version is emulated", _FALSE),
    "service-account-jwks-uri": Idle("the keys are at /openid/v1/jwks of the advertised address", ("",), True),
    "service-account-lookup": Idle("a token is good as long as its account is there", _TRUE, True),
    "show-hidden-metrics-for-version": Idle(_METRICS),
    "shutdown-send-retry-after": Idle("requests in flight are finished, new connections are not accepted"),
    "shutdown-watch-termination-grace-period": Idle("watches end in order at once, and are taken up elsewhere"),
    "service-account-signing-endpoint": Idle(
        "tokens are signed here, with --service-account-signing-key-file", ("",), True
    ),
    "storage-backend": Idle("--etcd-servers says which store", ("", "etcd3"), True),
    "storage-initialization-timeout": Idle("the server waits for its store"),
    "strict-transport-security-directives": Idle("there is nothing in plain text to keep browsers from"),
    "tls-cipher-suites": Idle("with TLS 1.2, suites with forward secrecy and authenticated encryption only"),
    "vmodule": Idle(_LOG),
    "watch-cache": Idle(_CACHE, _TRUE),
    "watch-cache-sizes": Idle(_CACHE),
}
