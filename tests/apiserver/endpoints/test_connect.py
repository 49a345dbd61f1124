"""exec, attach, port-forward, logs and proxy through the API server to a kubelet over TLS, asked by kubectl."""

import asyncio
import base64
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from pynetes.apis.core import nodes, pods
from pynetes.apiserver import requestinfo
from pynetes.apiserver.admission.attributes import Attributes, Policy
from pynetes.apiserver.admission.chain import Chain
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.authz.union import AlwaysAllow
from pynetes.apiserver.config import Config
from pynetes.apiserver.endpoints.connect import Connect
from pynetes.apiserver.http import Request, Response, error_response, json_response
from pynetes.apiserver.kubelets import Kubelets
from pynetes.apiserver.objects import Context
from pynetes.apiserver.server import Server
from pynetes.component.clock import SystemClock
from pynetes.component.streaming.http1 import Exchange, Target, exchange
from pynetes.component.streaming.websocket import WebSocket, new_key
from pynetes.component.tracing import Recorder
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, Revision
from pynetes.machinery.resource import Resource
from pynetes.pki.layout import CLUSTER_CA, Leaf, names
from tests.apiserver.endpoints.kubelet_double import KubeletDouble

kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH")
POD = "/api/v1/namespaces/default/pods/web"


def pod(
    name: str = "web", *, node: str = "n1", phase: str = "Running", containers: Iterable[str] = ("main",)
) -> Object:
    """As the cache has it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": "1"},
        "spec": {"nodeName": node, "containers": [{"name": each, "image": "x"} for each in containers]},
        "status": {"phase": phase, "podIP": own_address()},
    }


def own_address() -> str:
    """An address of this machine that is no loopback one, which proxies refuse. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


class FakeObjects:
    """The cluster's state as a dict."""

    def __init__(self, found: dict[tuple[str, Key], Object]) -> None:
        self.found = found

    def get(self, resource: Resource, key: Key) -> Object | None:
        return self.found.get((resource.plural, key))

    def list(self, resource: Resource, namespace: str = "") -> Iterable[Object]:
        return [obj for (plural, _), obj in self.found.items() if plural == resource.plural]

    def count(self, resource: Resource) -> int:
        return len(list(self.list(resource)))

    async def fresh(self, resource: Resource) -> Revision:
        return Revision(1)


class NoRoot(Policy):
    """Refuses to connect to one pod."""

    name = "NoRoot"

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        if attributes.name == "sealed":
            assert attributes.obj is not None
            raise attributes.forbidden(f"{attributes.operation} {attributes.obj['kind']} is not allowed")


DISCOVERY: dict[str, Object] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get", "list"]},
            {
                "name": "pods/exec",
                "singularName": "",
                "namespaced": True,
                "kind": "PodExecOptions",
                "verbs": ["create"],
            },
        ],
    },
}


class Cluster:
    """A server with nothing but connections, and its kubelet."""

    def __init__(self, kubelet: KubeletDouble) -> None:
        self.kubelet = kubelet
        self.recorder = Recorder()
        endpoints = {"kubeletEndpoint": {"Port": kubelet.port}}
        addresses = [{"type": "Hostname", "address": "nowhere.invalid"}, {"type": "InternalIP", "address": "127.0.0.1"}]
        node = {"metadata": {"name": "n1"}, "status": {"addresses": addresses, "daemonEndpoints": endpoints}}
        found = [
            pod(),
            pod("sealed"),
            pod("done", phase="Succeeded"),
            pod("new", node=""),
            pod("two", containers=("a", "b")),
        ]
        objects = {("pods", Key("default", each["metadata"]["name"])): each for each in found}
        objects["nodes", Key("", "n1")] = node
        folder = kubelet.folder
        config = Config(
            kubelet_client_certificate=str(folder / "client.crt"),
            kubelet_client_key=str(folder / "client.key"),
            kubelet_certificate_authority=str(folder / "ca.crt"),
            kubelet_preferred_address_types=("InternalIP",),
        )
        ctx = Context(objects=FakeObjects(objects), clock=SystemClock(), authorizer=AlwaysAllow())  # type: ignore[arg-type]
        self.connect = Connect(ctx, Chain(ctx, (NoRoot(),)), Kubelets(config, recorder=self.recorder))
        self.server = Server(self.handle)
        self.requests: list[str] = []

    async def handle(self, request: Request) -> Response:
        request.info = requestinfo.parse(request.method, request.path, request.query_string)
        request.user = User("jane")
        self.requests.append(
            f"{request.method} {request.info.subresource} {request.headers.get('upgrade', '')}".strip()
        )
        try:
            if request.path in DISCOVERY:
                return json_response(DISCOVERY[request.path])
            info = request.info
            resource = nodes.RESOURCE if info.resource == "nodes" else pods.RESOURCE
            if not info.subresource:
                return json_response(pod(info.name))
            return await self.connect.serve(request, resource)
        except StatusError as error:
            return error_response(error)

    async def ask(self, method: str, path: str, *headers: tuple[str, str]) -> Exchange:
        """A bare request."""
        return await exchange(Target("127.0.0.1", self.server.port), method, path, headers)

    async def websocket(self, path: str, protocol: str) -> WebSocket:
        """A WebSocket client."""
        upgraded = await self.ask(
            "GET",
            path,
            *(("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", new_key())),
            *(("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Protocol", f"other, {protocol}")),
        )
        assert (upgraded.status, upgraded.header("sec-websocket-protocol")) == (101, protocol)
        return WebSocket(upgraded.reader, upgraded.writer, client=True)

    async def kubectl(
        self, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> tuple[int, bytes, bytes]:
        """Exit code and outputs of the real one."""
        process = await asyncio.create_subprocess_exec(
            *("kubectl", "--server", f"http://127.0.0.1:{self.server.port}", "--cache-dir", str(self.kubelet.folder)),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "KUBECONFIG": "/dev/null", **(env or {})},
        )
        out, err = await asyncio.wait_for(process.communicate(stdin), 60)
        assert process.returncode is not None
        return process.returncode, out, err


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    kubelet = KubeletDouble(tmp_path)
    await kubelet.start()
    made = Cluster(kubelet)
    async with asyncio.TaskGroup() as group:
        await made.server.listen(group, host="127.0.0.1", port=0)
        yield made
        await made.server.shutdown()
        await kubelet.stop()


async def messages(socket: WebSocket) -> list[bytes]:
    """Everything until the socket is closed."""
    found = []
    while (message := await socket.receive()) is not None:
        found.append(message.data)
    return found


async def status_of(cluster: Cluster, path: str, *headers: tuple[str, str], method: str = "POST") -> tuple[int, Object]:
    """The refusal of a request."""
    with await cluster.ask(method, path, *headers) as answer:
        return answer.status, orjson.loads(await answer.text())


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_exec_over_websocket_ends_with_the_status(cluster: Cluster, protocol: str) -> None:
    """All output first, then the kubelet's Status on channel 3, then the close."""
    socket = await cluster.websocket(f"{POD}/exec?command=fail&command=3&stdout=true&stderr=true", protocol)
    found = await messages(socket)
    assert b"".join(each[1:] for each in found if each[0] == 1) == b"out\n" * 1000
    assert b"".join(each[1:] for each in found if each[0] == 2) == b"err\n"
    assert found[-1][0] == 3
    status = orjson.loads(found[-1][1:])
    assert (status["reason"], status["details"]["causes"][0]["message"]) == ("NonZeroExitCode", "3")
    assert socket.close_code == 1000
    assert cluster.kubelet.requests == ["POST /exec/default/web/main?output=1&error=1&command=fail&command=3"]
    assert cluster.kubelet.clients == {"kube-apiserver-kubelet-client"}


async def test_v5_closes_stdin_alone(cluster: Cluster) -> None:
    """Channel 255 ends the input; the command's last output and its success still come."""
    socket = await cluster.websocket(f"{POD}/exec?command=cat&stdin=true&stdout=true", "v5.channel.k8s.io")
    await socket.send(b"\x00hello")
    await socket.send(b"\xff\x00")
    assert await messages(socket) == [b"\x01hello", b'\x03{"metadata": {}, "status": "Success"}']


async def test_base64_is_for_browsers(cluster: Cluster) -> None:
    """Text frames, the channel as a digit; the terminal's size goes to the command."""
    path = f"{POD}/exec?command=size&stdin=true&stdout=true&stderr=true&tty=true"
    socket = await cluster.websocket(path, "v4.base64.channel.k8s.io")
    await socket.send(b"4eyJXaWR0aCI6MX0=", 1)
    assert (await messages(socket))[0] == b"1eyJXaWR0aCI6MX0="


async def test_a_kubelets_refusal_arrives_as_status(cluster: Cluster) -> None:
    """After the WebSocket is open there is only channel 3 to say it on."""
    assert (
        cluster.connect._ctx.objects.get(pods.RESOURCE, Key("default", "two"))["spec"]["containers"].append(  # type: ignore[index, func-returns-value]
            {"name": "missing"}
        )
        is None
    )
    path = "/api/v1/namespaces/default/pods/two/exec?container=missing&command=x&stdout=true"
    (last,) = await messages(await cluster.websocket(path, "v5.channel.k8s.io"))
    status = orjson.loads(last[1:])
    text = 'Internal error occurred: unable to upgrade connection: container not found ("missing")'
    assert (status["reason"], status["message"]) == ("InternalError", text)


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("gone/exec?command=x&stdout=1", 404, 'pods "gone" not found'),
        ("web/exec?stdout=1", 400, "you must specify at least 1 command for the container"),
        ("web/exec?command=x", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("web/exec?command=x&stdout=1", 400, "Upgrade request required"),
        ("web/exec?command=x&stdout=1&container=no", 400, "container no is not valid for pod web"),
        ("two/exec?command=x&stdout=1", 400, "a container name must be specified for pod two, choose one of: [a b]"),
        (
            "done/exec?command=x&stdout=1",
            400,
            "cannot exec into a container in a completed pod; current phase is Succeeded",
        ),
        ("new/portforward", 400, "pod new does not have a host assigned"),
        ("sealed/exec?command=x&stdout=1", 403, 'pods "sealed" is forbidden: CONNECT PodExecOptions is not allowed'),
    ],
)
async def test_refusals_come_before_the_upgrade(cluster: Cluster, path: str, code: int, text: str) -> None:
    """As ordinary Statuses, without the kubelet being asked."""
    answered, status = await status_of(cluster, f"/api/v1/namespaces/default/pods/{path}")
    assert (answered, status["message"]) == (code, text)
    assert not cluster.kubelet.requests


async def test_a_kubelet_of_another_authority_is_not_dialled(cluster: Cluster, tmp_path: Path) -> None:
    """Its certificate is verified; the text says what was wrong, and so does the record of path 10."""
    other = tmp_path / "other"
    other.mkdir()
    stranger = KubeletDouble(other)
    await stranger.start()
    node = cluster.connect._ctx.objects.get(nodes.RESOURCE, Key("", "n1"))
    assert node is not None
    node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] = stranger.port
    upgrade = (("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"))
    code, status = await status_of(cluster, f"{POD}/attach?stdout=1", *upgrade)
    assert code == 500
    assert "error dialing backend: tls: failed to verify certificate" in status["message"]
    assert (cluster.recorder.counters[10].requests, cluster.recorder.counters[10].errors) == (1, 1)
    assert cluster.recorder.counters[10].identity.subject == "CN=kube-apiserver-kubelet-client"
    await stranger.stop()


async def test_a_node_that_calls_itself_by_the_api_servers_address(cluster: Cluster, tmp_path: Path) -> None:
    """The right authority and address, and still no kubelet: the API server would ask itself as administrator."""
    leaf = Leaf("apiserver", CLUSTER_CA, "kube-apiserver", server=True, names=names("127.0.0.1"))
    cluster.kubelet._issue(leaf, "kubelet")
    await cluster.kubelet.stop()
    await cluster.kubelet.start()
    node = cluster.connect._ctx.objects.get(nodes.RESOURCE, Key("", "n1"))
    assert node is not None
    node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] = cluster.kubelet.port
    path = "/api/v1/nodes/n1/proxy/containerLogs/default/web/main"
    with await cluster.ask("GET", path) as answer:
        assert answer.status == 200
    cluster.connect._kubelets._config = replace(
        cluster.connect._kubelets._config, tls_cert_file=str(tmp_path / "kubelet.crt")
    )
    for asked in (path, f"{POD}/log"):
        code, status = await status_of(cluster, asked, method="GET")
        assert code >= 500 and "connect: that is an api server, and no kubelet" in status["message"]
    assert len(cluster.kubelet.requests) == 1


async def test_logs_are_streamed_with_their_options(cluster: Cluster) -> None:
    """The only container is meant; a pod that was not scheduled has said nothing."""
    with await cluster.ask("GET", f"{POD}/log?tailLines=5&follow=true&pretty=true") as answer:
        assert (answer.status, answer.header("content-type")) == (200, "text/plain")
        assert await answer.text() == 'main says\n{"follow": ["true"], "tailLines": ["5"]}\n'
    with await cluster.ask("GET", "/api/v1/namespaces/default/pods/new/log") as answer:
        assert (answer.status, await answer.text()) == (204, "")
    with await cluster.ask("GET", "/api/v1/namespaces/default/pods/new/log?tailLines=-1") as answer:
        assert (answer.status, "must be greater than or equal to 0" in await answer.text()) == (422, True)


@pytest.mark.parametrize("protocol", ["binary.k8s.io", "base64.binary.k8s.io"])
async def test_logs_over_websocket(cluster: Cluster, protocol: str) -> None:
    """A log that is followed comes in messages, after an empty one; the end of the log is a close."""
    socket = await cluster.websocket(f"{POD}/log?tailLines=5", protocol)
    first, *rest = await messages(socket)
    parts = [base64.b64decode(one) for one in rest] if protocol.startswith("base64") else rest
    assert (first, b"".join(parts)) == (b"", b'main says\n{"tailLines": ["5"]}\n')
    assert socket.close_code == 1000


async def test_a_node_is_proxied_with_our_certificate(cluster: Cluster) -> None:
    """Path and query as they are."""
    with await cluster.ask("GET", "/api/v1/nodes/n1/proxy/containerLogs/default/web/main?tailLines=1") as answer:
        assert (answer.status, await answer.text()) == (200, 'main says\n{"tailLines": ["1"]}\n')


async def test_a_pod_is_proxied(cluster: Cluster) -> None:
    """By port; what identifies the client stays here; an unreachable one is 503."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 418 Teapot\r\nX-Tea: green\r\nContent-Type: text/tea\r\nContent-Length: 3\r\n\r\ntea")
        writer.close()

    if own_address() == "127.0.0.1":
        pytest.skip("this machine has no address but loopback")
    server = await asyncio.start_server(serve, own_address(), 0)
    port = server.sockets[0].getsockname()[1]
    path = f"/api/v1/namespaces/default/pods/http:web:{port}/proxy/a%20b/c?d=e"
    with await cluster.ask(
        "GET", path, ("Authorization", "Bearer secret"), ("X-Remote-User", "root"), ("X-Mine", "1")
    ) as answer:
        assert (answer.status, answer.header("x-tea"), answer.header("content-type")) == (418, "green", "text/tea")
        assert await answer.text() == "tea"
    assert seen[0].startswith(b"GET /a%20b/c?d=e HTTP/1.1\r\n")
    lowered = seen[0].lower()
    assert b"x-mine: 1" in lowered
    assert b"secret" not in lowered
    assert b"x-remote-user" not in lowered
    server.close()
    code, status = await status_of(cluster, path, method="GET")
    assert (code, status["reason"]) == (503, "ServiceUnavailable")


async def test_redirects_are_the_clients_affair(cluster: Cluster) -> None:
    """A pod that answers 302 sends the client somewhere, never the API server."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        here = writer.get_extra_info("sockname")
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: http://{here[0]}:{here[1]}/secret\r\n".encode())
        writer.write(b"Content-Length: 0\r\n\r\n")
        writer.close()

    if own_address() == "127.0.0.1":
        pytest.skip("this machine has no address but loopback")
    server = await asyncio.start_server(serve, own_address(), 0)
    port = server.sockets[0].getsockname()[1]
    with await cluster.ask("GET", f"/api/v1/namespaces/default/pods/web:{port}/proxy/") as answer:
        assert answer.status == 302
    server.close()
    assert len(asked) == 1


@pytest.mark.parametrize("upgrade", ["SPDY/3.1", "websocket"])
async def test_a_kubelets_redirect_is_not_followed(cluster: Cluster, upgrade: str) -> None:
    """A node that answers 302 to exec sends nobody anywhere: the API server's certificate goes where it dialled."""
    path = f"{POD}/exec?command=elsewhere&stdout=true"
    if upgrade == "websocket":
        (last,) = await messages(await cluster.websocket(path, "v5.channel.k8s.io"))
        assert orjson.loads(last[1:])["status"] == "Failure"
    else:
        with await cluster.ask("POST", path, ("Connection", "Upgrade"), ("Upgrade", upgrade)) as answer:
            assert answer.status == 302 and not answer.header("location")
    (only,) = cluster.kubelet.requests
    assert "/exec/" in only


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "::ffff:127.0.0.1"],
)
async def test_a_pod_cannot_point_at_what_only_the_control_plane_reaches(cluster: Cluster, address: str) -> None:
    """Its status is written by its node: the API server dials no loopback, link-local or metadata address for it."""
    web = cluster.connect._ctx.objects.get(pods.RESOURCE, Key("default", "web"))
    assert web is not None
    web["status"]["podIP"] = address
    code, status = await status_of(cluster, "/api/v1/namespaces/default/pods/web:80/proxy/", method="GET")
    assert (code, status["message"]) == (400, "address not allowed")


async def test_a_node_cannot_either_beside_its_kubelet(cluster: Cluster) -> None:
    """The kubelet's own port is dialled with TLS both ways; any other port of a loopback node is refused."""
    code, status = await status_of(cluster, "/api/v1/nodes/n1:22/proxy/", method="GET")
    assert (code, status["message"]) == (400, "address not allowed")
    code, status = await status_of(cluster, "/api/v1/nodes/n1:ssh/proxy/", method="GET")
    assert code == 400


@kubectl
@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_kubectl_exec_hands_on_output_and_exit_code(cluster: Cluster, websockets: str) -> None:
    """With WebSocket and with SPDY."""
    code, out, err = await cluster.kubectl(
        "exec", "web", "--", "fail", "7", env={"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    )
    assert (code, out) == (7, b"out\n" * 1000)
    assert b"err\n" in err
    used = {"true": "websocket", "false": "SPDY/3.1"}[websockets]
    assert [each.split()[-1] for each in cluster.requests if "exec" in each] == [used]


@kubectl
@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_kubectl_exec_carries_stdin(cluster: Cluster, websockets: str) -> None:
    """A megabyte there and back; the end of the input ends the command."""
    data = os.urandom(1 << 20)
    code, out, err = await cluster.kubectl(
        "exec", "-i", "web", "--", "cat", stdin=data, env={"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    )
    assert (code, out == data, err) == (0, True, b"")


@kubectl
async def test_kubectl_logs(cluster: Cluster) -> None:
    """As a person asks."""
    code, out, _ = await cluster.kubectl("logs", "web", "--tail", "3")
    assert (code, out) == (0, b'main says\n{"tailLines": ["3"]}\n')


@kubectl
@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_kubectl_port_forward(cluster: Cluster, websockets: str) -> None:
    """Two connections through one forward, tunnelled in WebSocket or over SPDY itself."""
    process = await asyncio.create_subprocess_exec(
        *("kubectl", "--server", f"http://127.0.0.1:{cluster.server.port}", "--cache-dir", str(cluster.kubelet.folder)),
        *("port-forward", "pod/web", ":80"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "KUBECONFIG": "/dev/null", "KUBECTL_PORT_FORWARD_WEBSOCKETS": websockets},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
            port = int(line.split("127.0.0.1:")[1].split()[0])
            for text in (b"one", b"two"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(text)
                assert await reader.read() == b"80: " + text.upper()
                writer.close()
    finally:
        process.kill()
        await process.wait()
    used = {"true": "websocket", "false": "SPDY/3.1"}[websockets]
    assert [each.split()[-1] for each in cluster.requests if "portforward" in each] == [used]
