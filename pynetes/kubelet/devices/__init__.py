"""Devices of device plugins: what there is, who has it, and what a container needs to use it."""
