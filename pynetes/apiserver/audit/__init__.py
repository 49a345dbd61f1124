"""Who did what, and whether it was allowed: audit.k8s.io events by a policy, into a log or to a webhook."""
