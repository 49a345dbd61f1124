"""Volumes of pods: what is written for them (sources), how (atomic), where it is mounted (mounts, subpath)."""
