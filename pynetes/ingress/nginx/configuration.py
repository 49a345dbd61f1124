"""nginx's configuration file: ports, and one location for each way of speaking to backends.

Everything that a user of the cluster writes reaches nginx as data in its tables. What is written here are numbers,
booleans and members of enumerations, so there is nothing to quote and nothing to escape from.
"""

import enum
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

LUA = Path(__file__).parent.parent / "lua"
#: What nginx listens on beside its ports, below the run folder.
SOCKET = "feed.sock"
#: Ports of Ingresses have this scope in the tables; those of a Gateway are "g" and the port.
INGRESS_SCOPE = "ingress"


class Protocol(enum.Enum):
    """How a backend is spoken to."""

    HTTP = "http"
    HTTPS = "https"
    GRPC = "grpc"
    GRPCS = "grpcs"


SECURE = (Protocol.HTTPS, Protocol.GRPCS)


class Location(NamedTuple):
    """Settings that nginx needs before it sees a request; each combination in use is one location."""

    protocol: Protocol = Protocol.HTTP
    #: Bytes that a request's body may have; 0 is any number.
    body: int = 1 << 20
    #: Whether a request's body is read whole before the backend hears of it, and an answer before the client does.
    request_buffering: bool = True
    buffering: bool = False
    #: To how many backends a copy of each request may go.
    mirrored: int = 0

    @property
    def name(self) -> str:
        """Its name in the file and in the tables."""
        flags = [self.request_buffering, self.buffering, self.mirrored]
        return f"{self.protocol.value}_{int(self.body)}_{''.join(str(int(flag)) for flag in flags)}"


class Listener(NamedTuple):
    """A port; tls: with certificates by the client's wish. h2c: HTTP/2 without TLS, and then nothing else."""

    port: int
    scope: str
    tls: bool = False
    h2c: bool = False


#: Always there: what most Ingresses need, and what a worker of before a reload takes for a location it does not know.
ALWAYS = frozenset(Location(protocol, body) for protocol in Protocol for body in (0, 1 << 20))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that the file is made of."""

    listeners: tuple[Listener, ...]
    locations: frozenset[Location] = ALWAYS
    workers: int = 2
    #: Megabytes for tables; 1,000 Ingresses with 5,000 endpoints take 3.
    memory: int = 64
    #: File descriptors a worker may have: two for each request that is under way.
    files: int = 1024
    #: Whom workers run as, where nginx is started by root.
    user: str = ""
    address: str = "0.0.0.0"
    ipv6: bool = False


_MAIN = """\
# Written by pynetes ingress-controller. Rules, certificates and endpoints are fed to {run}/feed.sock.
daemon off;
{user}worker_processes {workers};
worker_rlimit_nofile {files};
worker_shutdown_timeout 240s;
error_log stderr warn;
pid {run}/nginx.pid;
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
events {{
  worker_connections {connections};
  multi_accept on;
}}
http {{
  lua_package_path "{lua}/?.lua;;";
  lua_shared_dict pynetes_tables {memory}m;
  lua_shared_dict pynetes_limits 16m;
  lua_shared_dict pynetes_counts 16m;
  lua_regex_match_limit 100000;
  lua_regex_cache_max_entries 8192;
  init_by_lua_block {{
    require("resty.core")
    require("request").known({{{known}}})
    require("feed").mark = "{mark}"
    require("certificates")
  }}
  init_worker_by_lua_block {{ math.randomseed(ngx.now() * 1000 + ngx.worker.pid()) }}
  access_log off;
  server_tokens off;
  default_type text/html;
  client_body_temp_path {run}/body;
  proxy_temp_path {run}/proxy;
  fastcgi_temp_path {run}/fastcgi;
  uwsgi_temp_path {run}/uwsgi;
  scgi_temp_path {run}/scgi;
  client_header_timeout 60s;
  client_max_body_size 0;
  large_client_header_buffers 4 32k;
  http2_max_concurrent_streams 128;
  keepalive_timeout 75s;
  keepalive_requests 100000;
  reset_timedout_connection on;
  tcp_nodelay on;
  variables_hash_max_size 2048;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;
  ssl_session_cache shared:pynetes_tls:10m;
  ssl_session_tickets off;
  ssl_certificate {run}/default.pem;
  ssl_certificate_key {run}/default.pem;
  map $http_upgrade $pynetes_connection {{ default upgrade; "" ""; }}
  map $http_x_request_id $pynetes_request_id {{ default $http_x_request_id; "" $request_id; }}
{upstreams}{servers}  server {{
    listen unix:{run}/feed.sock;
    client_body_buffer_size 64m;
    location = /tables {{ content_by_lua_block {{
      if ngx.req.get_method() == "POST" then require("feed").change() else require("feed").state() end
    }} }}
    location = /counts {{ content_by_lua_block {{ require("measure").show() }} }}
  }}
}}
"""

_UPSTREAM = """\
  upstream pynetes_{name} {{
    server 0.0.0.1;
    balancer_by_lua_block {{ require("request").{connect}() }}
{kept}  }}
"""
# Not with TLS: nginx takes any connection that is kept to an address, also one that was made for another name.
_KEPT = """\
    keepalive 320;
    keepalive_timeout 60s;
    keepalive_requests 10000;
"""

# Set where requests enter, not for the whole server: the subrequest of a mirror shares these, and must not undo them.
_SERVER = """\
  server {{
{listen}{certificates}    header_filter_by_lua_block {{ require("request").answer() }}
    log_by_lua_block {{ require("request").done() }}
    location / {{
      set $pynetes_host "";
      set $pynetes_name "";
      set $pynetes_realm off;
      set $pynetes_users /dev/null;
      set $pynetes_mirror "";
      rewrite_by_lua_block {{ require("request").route("{scope}") }}
    }}
    location @failed {{ content_by_lua_block {{ require("request").failed() }} }}
{locations}  }}
"""

_HEADERS = (
    ("Host", "$pynetes_host"),
    ("X-Request-ID", "$pynetes_request_id"),
    ("X-Real-IP", "$remote_addr"),
    ("X-Forwarded-For", "$remote_addr"),
    ("X-Forwarded-Host", "$http_host"),
    ("X-Forwarded-Port", "$server_port"),
    ("X-Forwarded-Proto", "$scheme"),
    ("X-Forwarded-Scheme", "$scheme"),
    ("X-Scheme", "$scheme"),
    ("X-Original-Forwarded-For", "$http_x_forwarded_for"),
    ("Proxy", '""'),
)


def mark(settings: Settings) -> str:
    """By which workers with these settings are told from those of before."""
    return hashlib.sha256(
        repr(sorted(each.name for each in settings.locations)).encode() + repr(settings.listeners).encode()
    ).hexdigest()


def render(settings: Settings, run: Path, modules: Path = Path("/usr/lib/nginx/modules")) -> str:
    """The file's text; the same settings give the same text."""
    locations = "".join(_location(each) for each in sorted(settings.locations, key=lambda each: each.name))
    copies = max((each.mirrored for each in settings.locations), default=0)
    locations += "".join(_mirror(number) for number in range(1, copies + 1))
    upstreams = "".join(
        _UPSTREAM.format(name=each.value, connect="connect", kept="" if each in SECURE else _KEPT) for each in Protocol
    )
    upstreams += _UPSTREAM.format(name="mirror", connect="connect_mirror", kept=_KEPT)
    servers = "".join(_server(settings, each, locations) for each in sorted(settings.listeners))
    return _MAIN.format(
        run=run,
        modules=modules,
        lua=LUA,
        workers=int(settings.workers),
        user=f"user {settings.user};\n" if settings.user else "",
        files=int(settings.files),
        connections=max(64, min(16384, int(settings.files) * 3 // 4)),
        memory=int(settings.memory),
        mark=mark(settings),
        known=", ".join(f"{each.name} = true" for each in sorted(settings.locations, key=lambda each: each.name)),
        upstreams=upstreams,
        servers=servers,
    )


def _server(settings: Settings, listener: Listener, locations: str) -> str:
    options = (" ssl http2" if listener.tls else " http2" if listener.h2c else "") + " backlog=4096"
    addresses = [settings.address, *(["[::]"] if settings.ipv6 else [])]
    listen = "".join(f"    listen {address}:{int(listener.port)}{options};\n" for address in addresses)
    show = f'    ssl_certificate_by_lua_block {{ require("certificates").show("{listener.scope}") }}\n'
    return _SERVER.format(
        listen=listen, scope=listener.scope, certificates=show if listener.tls else "", locations=locations
    )


def _location(location: Location) -> str:
    grpc = location.protocol in (Protocol.GRPC, Protocol.GRPCS)
    family = "grpc" if grpc else "proxy"
    secure = location.protocol in SECURE
    lines = [
        f"client_max_body_size {int(location.body)}",
        "auth_basic $pynetes_realm",
        "auth_basic_user_file $pynetes_users",
        *(f"{family}_set_header {name} {value}" for name, value in _HEADERS),
        f"{family}_next_upstream error timeout",
        "error_page 500 = @failed",
        *([f"{family}_ssl_server_name on", f"{family}_ssl_name $pynetes_name"] if secure else ()),
        *(() if grpc else _plain(location)),
        *(f"mirror /.pynetes/mirror/{number}" for number in range(1, location.mirrored + 1)),
        f"{family}_pass {location.protocol.value}://pynetes_{location.protocol.value}",
    ]
    return _block(f"@{location.name}", lines)


def _plain(location: Location) -> Iterable[str]:
    """HTTP/1.1 with upgrades; gRPC knows neither these headers nor buffering."""
    yield "proxy_http_version 1.1"
    yield "proxy_set_header Upgrade $http_upgrade"
    yield "proxy_set_header Connection $pynetes_connection"
    yield f"proxy_buffering {'on' if location.buffering else 'off'}"
    yield f"proxy_request_buffering {'on' if location.request_buffering else 'off'}"
    yield "proxy_redirect off"
    yield "proxy_buffer_size 16k"
    yield "proxy_buffers 8 16k"


def _mirror(number: int) -> str:
    lines = [
        "internal",
        f'rewrite_by_lua_block {{ require("request").mirror({int(number)}) }}',
        *(f"proxy_set_header {name} {value}" for name, value in _HEADERS),
        "proxy_http_version 1.1",
        'proxy_set_header Connection ""',
        "proxy_pass http://pynetes_mirror$request_uri",
    ]
    return _block(f"= /.pynetes/mirror/{int(number)}", lines)


def _block(name: str, lines: Sequence[str]) -> str:
    body = "".join(f"      {line}{'' if line.endswith('}') else ';'}\n" for line in lines)
    return f"    location {name} {{\n{body}    }}\n"
