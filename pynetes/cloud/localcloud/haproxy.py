"""From balancers to haproxy's configuration: a pure function.

One `listen` section per port. Nodes are asked as the balancer says, over HTTP, from the first second on; a node that
fails is left out and its connections are ended, so that clients come again elsewhere.
"""

from collections.abc import Iterable, Iterator

from pynetes.machinery.meta import Object

_HEAD = """\
global
    stats socket {stats} mode 600 level admin expose-fd listeners
    hard-stop-after 30s
    nosplice

defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 2s
    option redispatch 1
    retries 3
    option clitcpka
    option srvtcpka
"""


def configuration(balancers: Iterable[Object], *, stats: str) -> str:
    """The whole file."""
    sections = (section for each in sorted(balancers, key=lambda b: str(b["name"])) for section in _sections(each))
    return "\n".join([_HEAD.format(stats=stats), *sections])


def _sections(balancer: Object) -> Iterator[str]:
    for listener in balancer["listeners"]:
        yield "\n".join(_lines(balancer, listener)) + "\n"


def _lines(balancer: Object, listener: Object) -> Iterator[str]:
    health, port = balancer["health"], listener["port"]
    yield f"listen {balancer['name']}:{port}"
    yield f"    bind {balancer['address']}:{port}"
    if balancer.get("sourceRanges"):
        yield f"    acl permitted src {' '.join(balancer['sourceRanges'])}"
        yield "    tcp-request connection reject if !permitted"
    yield f"    balance {'source' if balancer.get('sticky') else 'roundrobin'}"
    if balancer.get("sticky"):
        yield "    hash-type consistent"
    if health.get("path"):
        yield f"    option httpchk GET {health['path']}"
        yield "    http-check expect status 200"
    proxied = " send-proxy-v2" if balancer.get("proxyProtocol") else ""
    # Without it the check would follow send-proxy, which no health endpoint understands.
    plain = " check-send-proxy" if proxied and not health.get("path") else ""
    default = f"check port {health['port']} inter 1s fall 2 rise 1 on-marked-down shutdown-sessions"
    yield f"    default-server {default}{proxied}{plain}"
    for target in balancer["targets"]:
        yield f"    server {target['node']} {target['address']}:{listener['nodePort']}"
