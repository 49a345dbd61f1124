"""Encryption at rest: what --encryption-provider-config names is unreadable in the store, in upstream's own format."""
