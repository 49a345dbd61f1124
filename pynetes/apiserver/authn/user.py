"""An authenticated (or anonymous, or impersonated) user."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pynetes.machinery.meta import Object

ANONYMOUS = "system:anonymous"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"
NODES = "system:nodes"
NODE_PREFIX = "system:node:"
SERVICE_ACCOUNTS = "system:serviceaccounts"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class User:
    """Name, uid, groups and extra, as in UserInfo. `expires` (seconds since the epoch) ends what the user opened."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expires: float | None = None

    def info(self) -> Object:
        """authentication.k8s.io UserInfo."""
        info: Object = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        if self.groups:
            info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {name: list(values) for name, values in self.extra.items()}
        return info


def known(user: User) -> User:
    """Everybody but the anonymous is in system:authenticated."""
    if user.name == ANONYMOUS or AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED))


#: The API server itself: its post-start hooks and loopback calls.
LOOPBACK = User("system:apiserver", groups=(MASTERS, AUTHENTICATED))


def node_name(user: User) -> str | None:
    """The node a kubelet's identity belongs to: system:node:NAME in group system:nodes."""
    if user.name.startswith(NODE_PREFIX) and NODES in user.groups:
        return user.name.removeprefix(NODE_PREFIX) or None
    return None


def service_account(user: User) -> tuple[str, str] | None:
    """Namespace and name of a ServiceAccount's user name, or None."""
    parts = user.name.split(":")
    if len(parts) == 4 and user.name.startswith(SERVICE_ACCOUNT_PREFIX):
        return parts[2], parts[3]
    return None
