"""What goes wrong on the machine while a cluster is brought up, used or removed."""

from pynetes.component.remedy import RemedyError


class ClusterError(RemedyError):
    """When it is raised, nothing half-made remains."""
