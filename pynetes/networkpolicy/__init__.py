"""Network policies: makes the kernel drop what no policy of a selected pod allows.

model.py reads policies, pods and namespaces into chains and sets, purely; nftables.py sends what differs from the last
time, in one transaction; app.py follows the API server. Each node looks after its own pods: what they may receive, and
what they may send. It runs inside the kube-proxy process, which already has the rights and the place
(docs/decisions/084-network-policy.md).
"""
