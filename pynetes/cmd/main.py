"""The `pynetes` command: finds the subcommand and imports nothing else, so that each starts as fast as it can."""

import importlib
import sys
from collections.abc import Sequence

import pynetes
from pynetes.component.remedy import RemedyError

#: Subcommand → module below pynetes.cmd, and what it does in a few words.
CLUSTER = {
    "up": ("up", "set everything up and start a cluster on this machine"),
    "down": ("down", "stop the cluster; its state stays"),
    "reset": ("reset", "stop the cluster and remove all of it"),
    "status": ("status", "what runs, and how it is"),
    "paths": ("paths", "the interactions between the components, live, with their evidence"),
    "kubeconfig": ("kubeconfig", "print the administrator's kubeconfig, or its path"),
    "logs": ("logs", "show a component's log"),
    "certs": ("certs", "list or renew the cluster's certificates, replace its authorities"),
    "audit-security": ("audit_security", "judge the running cluster by the CIS Kubernetes Benchmark"),
    "encryption": ("encryption", "new keys for the Secrets in etcd"),
    "kubectl": ("kubectl", "the official kubectl, with the cluster's kubeconfig"),
    "helm": ("helm", "the official Helm, with the cluster's kubeconfig"),
    "preflight": ("preflight", "check this machine; with --install fetch what is missing"),
}
COMPONENTS = {
    "apiserver": ("apiserver", "the API server alone, with upstream's flags"),
    "controller-manager": ("controller_manager", "all controllers"),
    "scheduler": ("scheduler", "the scheduler"),
    "kubelet": ("kubelet", "the node agent"),
    "proxy": ("proxy", "kube-proxy"),
    "dns": ("dns", "the cluster's DNS server"),
    "cloud-controller-manager": ("cloud_controller_manager", "what needs a cloud: nodes, load balancers, routes"),
    "cloud-csi-controller": ("cloud_csi_controller", "a cloud's disks, by CSI"),
    "cloud-csi-node": ("cloud_csi_node", "a cloud's disks on the node that has them, by CSI"),
    "local-cloud": ("local_cloud", "a cloud for one machine, which `up --cloud local` uses"),
    "device-plugin": ("device_plugin", "hand out device files of a node to containers"),
    "csi-driver": ("csi_driver", "the storage driver for the machine's own disk: csi-driver local"),
    "csi-controller": ("csi_controller", "what makes, attaches and snapshots a CSI driver's volumes"),
    "dra-driver": ("dra_driver", "publish device files of a node for ResourceClaims"),
    "metrics-server": ("metrics_server", "what nodes and pods use: kubectl top and autoscaling"),
    "dashboard": ("dashboard", "the cluster in a browser, with the viewer's rights"),
    "prometheus-sd": ("prometheus_sd", "what Prometheus finds to scrape"),
    "metrics-guard": ("metrics_guard", "TLS and authorization before metrics that are served on loopback"),
    "ingress-controller": ("ingress_controller", "traffic from outside: nginx, by Ingresses and Gateways"),
}
#: Not for people: started by other commands.
INTERNAL = {
    "instance": ("instance", "what the local cloud does to a node"),
    "supervise": ("supervise", "keep a cluster's processes alive"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; its exit status is the command's."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if name in ("help", "--help", "-h"):
        print(usage())
        return 0
    if name in ("version", "--version"):
        print(f"pynetes {pynetes.__version__} (Kubernetes {pynetes.KUBERNETES_VERSION})")
        return 0
    known = {**CLUSTER, **COMPONENTS, **INTERNAL}
    if name not in known:
        import difflib  # costs as much as finding the command, and only a typo needs it

        print(f"error: there is no command {name!r}", file=sys.stderr)
        close = difflib.get_close_matches(name, (*CLUSTER, *COMPONENTS), n=1)
        remedy = f"did you mean {close[0]!r}?" if close else f"one of {', '.join((*CLUSTER, *COMPONENTS))}"
        print(f"remedy: {remedy}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"pynetes.cmd.{known[name][0]}")
    try:
        result: int = module.main(rest)
    except RemedyError as error:
        print(f"error: {error}", *([f"remedy: {error.remedy}"] if error.remedy else []), sep="\n", file=sys.stderr)
        return 1
    return result


def usage() -> str:
    """What --help prints."""
    lines = ["Kubernetes in Python: the whole system, wire-compatible.", "", "A cluster on this machine:"]
    lines += [f"  pynetes {name:<26}{text}" for name, (_, text) in CLUSTER.items()]
    lines += ["", "One component alone:"]
    lines += [f"  pynetes {name:<26}{text}" for name, (_, text) in COMPONENTS.items()]
    return "\n".join([*lines, "", "Each has --help. Start with `pynetes up`."])


if __name__ == "__main__":
    sys.exit(main())
