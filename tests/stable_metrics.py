"""Which metrics upstream's components promise to keep: STABLE and BETA of Kubernetes 1.36, with type and labels.

A histogram's own label le is left out. Of gauges and counters that upstream computes itself ("custom") the type is the
one that is shown.
"""

from typing import NamedTuple


class Stable(NamedTuple):
    """One promise: type and labels as Prometheus shows them, and the page of docs/metrics.md that has it."""

    type: str
    labels: frozenset[str]
    page: str


def _of(page: str, text: str) -> dict[str, Stable]:
    """Lines of: type name label …"""
    found = {}
    for line in text.strip().splitlines():
        kind, name, *labels = line.split()
        found[name] = Stable(kind, frozenset(labels), page)
    return found


_REQUEST = "component group resource scope subresource verb version"
_FLOW = "flow_schema priority_level"
_CHECK = "enforcement_action error_type policy policy_binding"
_SET = "pod_management_policy statefulset_name statefulset_namespace"
_POD = "container namespace pod"
_RESOURCE = "namespace pod node scheduler priority resource unit"

STABLE = {
    **_of(
        "API server",
        f"""
gauge apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds apiserver_id_hash status
counter apiserver_authentication_config_controller_automatic_reloads_total apiserver_id_hash status
gauge apiserver_authorization_config_controller_automatic_reload_last_timestamp_seconds apiserver_id_hash status
counter apiserver_authorization_config_controller_automatic_reloads_total apiserver_id_hash status
histogram apiserver_cel_compilation_duration_seconds
histogram apiserver_cel_evaluation_duration_seconds
gauge apiserver_flowcontrol_current_executing_requests {_FLOW}
gauge apiserver_flowcontrol_current_executing_seats {_FLOW}
gauge apiserver_flowcontrol_current_inqueue_requests {_FLOW}
counter apiserver_flowcontrol_dispatched_requests_total {_FLOW}
gauge apiserver_flowcontrol_nominal_limit_seats priority_level
counter apiserver_flowcontrol_rejected_requests_total {_FLOW} reason
histogram apiserver_flowcontrol_request_wait_duration_seconds {_FLOW} execute
histogram apiserver_validating_admission_policy_check_duration_seconds {_CHECK}
counter apiserver_validating_admission_policy_check_total {_CHECK}
counter apiserver_validation_declarative_validation_mismatch_total
counter apiserver_validation_declarative_validation_panic_total
histogram apiserver_admission_controller_admission_duration_seconds name operation rejected type
histogram apiserver_admission_step_admission_duration_seconds operation rejected type
histogram apiserver_admission_webhook_admission_duration_seconds name operation rejected type
gauge apiserver_current_inflight_requests request_kind
gauge apiserver_longrunning_requests {_REQUEST}
histogram apiserver_request_duration_seconds dry_run {_REQUEST}
counter apiserver_request_total code dry_run {_REQUEST}
gauge apiserver_requested_deprecated_apis group removed_release resource subresource version
histogram apiserver_response_sizes {_REQUEST}
gauge apiserver_storage_objects resource
gauge apiserver_storage_size_bytes storage_cluster_id
""",
    ),
    **_of(
        "",
        f"""
counter disabled_metrics_total
counter hidden_metrics_total
counter registered_metrics_total deprecated_version stability_level
gauge kubernetes_feature_enabled name stage
gauge kubernetes_healthcheck name type
counter kubernetes_healthchecks_total name status type
gauge kube_pod_resource_limit {_RESOURCE}
gauge kube_pod_resource_request {_RESOURCE}
""",
    ),
    **_of("kubelet, /metrics/probes", "counter prober_probe_total container namespace pod pod_uid probe_type result"),
    **_of(
        "kubelet, /metrics/resource",
        f"""
counter container_cpu_usage_seconds_total {_POD}
gauge container_memory_working_set_bytes {_POD}
gauge container_start_time_seconds {_POD}
counter node_cpu_usage_seconds_total
gauge node_memory_working_set_bytes
counter pod_cpu_usage_seconds_total namespace pod
gauge pod_memory_working_set_bytes namespace pod
gauge resource_scrape_error
""",
    ),
    **_of(
        "controller manager",
        f"""
gauge statefulset_controller_statefulset_max_unavailable {_SET}
gauge statefulset_controller_statefulset_unavailable_replicas {_SET}
histogram cronjob_controller_job_creation_skew_duration_seconds
counter job_controller_job_pods_finished_total completion_mode result
histogram job_controller_job_sync_duration_seconds action completion_mode result
counter job_controller_job_syncs_total action completion_mode result
counter job_controller_jobs_finished_total completion_mode reason result
counter node_collector_evictions_total zone
""",
    ),
    **_of(
        "scheduler",
        """
histogram scheduler_pod_scheduling_sli_duration_seconds attempts
histogram scheduler_framework_extension_point_duration_seconds extension_point profile status
gauge scheduler_pending_pods queue
histogram scheduler_pod_scheduling_attempts
counter scheduler_preemption_attempts_total
histogram scheduler_preemption_victims
counter scheduler_queue_incoming_pods_total event queue
counter scheduler_schedule_attempts_total profile result
histogram scheduler_scheduling_attempt_duration_seconds profile result
""",
    ),
}
