"""kube-proxy: makes the kernel forward what is sent to a Service to one of its endpoints.

Decisions are pure: model.py reads Services and EndpointSlices into forwards, tracker.py keeps them up to date by
Service, nftables.py and iptables.py turn a forward into rules, rules.py finds the difference between two states. Only
the difference is sent, in one atomic transaction (backend.py), so cost follows the change and no packet ever meets a
half-made table.
"""
