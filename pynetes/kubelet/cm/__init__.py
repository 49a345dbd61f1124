"""Container management: control groups and what resources mean to the kernel."""
