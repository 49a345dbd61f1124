"""What `pynetes up --cloud local` tells the service, as a YAML file."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pynetes.component.remedy import RemedyError

ROLE = "pynetes-node"


class BadConfig(RemedyError):
    """The file cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """An instance: where it lives, and what is told of it. namespace "" is the machine itself."""

    id: str
    name: str
    address: str
    namespace: str = ""
    zone: str = "local-a"
    type: str = "local.standard"
    #: The cloud's end of the wire to the instance's metadata service, and the instance's end.
    metadata_interface: str = ""
    node_interface: str = ""
    user_data: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The service's configuration; every path is absolute."""

    cluster: str
    state: Path
    certificate: Path
    key: Path
    #: User → token.
    tokens: Mapping[str, str]
    instances: tuple[Machine, ...] = ()
    host: str = "127.0.0.1"
    port: int = 443
    #: The network namespace that sockets and balancers live in; "" for this process's own.
    namespace: str = ""
    region: str = "local"
    pool: str = "172.31.255.0/24"
    #: The first addresses of the pool that are not for balancers: the machine's end, and the API.
    reserved: int = 4
    #: Run with stop, start or terminate and an instance's name to do that to it.
    hook: tuple[str, ...] = ()
    haproxy_config: str = ""
    haproxy_master: str = ""
    haproxy_stats: str = ""
    #: nftables table that keeps pods from the metadata service, in each node's namespace.
    table: str = ""
    pod_cidr: str = "10.244.0.0/16"
    #: How long role credentials are good for, in seconds.
    credentials_seconds: float = 6 * 3600.0

    @property
    def addresses(self) -> list[str]:
        """What balancers can get."""
        return [str(address) for address in ipaddress.IPv4Network(self.pool)][self.reserved : -1]


def read(path: str) -> Config:
    """The file's content. Raises BadConfig with the remedy."""
    try:
        return parse(yaml.safe_load(Path(path).read_text()))
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}", "give the file with --config") from None
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise BadConfig(f"{path}: {error}", "run `pynetes up --cloud local`, which writes it") from None


def parse(document: Any) -> Config:
    """From what YAML gives. Raises TypeError or ValueError."""
    given = dict(document)
    for name in ("state", "certificate", "key"):
        given[name] = Path(given[name])
    given["instances"] = tuple(Machine(**each) for each in given.get("instances") or ())
    given["hook"] = tuple(given.get("hook") or ())
    config = Config(**given)
    ipaddress.IPv4Network(config.pool)
    return config
