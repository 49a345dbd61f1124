"""What goes wrong on the machine, told in one line with the remedy."""


class ClusterError(Exception):
    """Printed as `error: MESSAGE` and, under it, `remedy: REMEDY`; nothing half-made remains when it is raised."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy
