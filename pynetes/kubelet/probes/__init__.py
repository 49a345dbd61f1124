"""Probes: one task per probe of a running container, and what they have found."""
