"""A pod's network made by the CNI plugins themselves, as libcni would call them, without a container runtime."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from pynetes.cluster import network

PLUGINS = Path("/usr/lib/cni")


@contextlib.contextmanager
def pod(net: network.ClusterNetwork, node: network.NodeNetwork, name: str, data_dir: Path) -> Iterator[tuple[str, str]]:
    """ADD a namespace to the node's network; gives the namespace's name and the pod's address. DEL at the end."""
    space = f"{net.label}-pod-{name}"
    subprocess.run(["ip", "netns", "add", space], check=True)
    subprocess.run(["ip", "-n", space, "link", "set", "lo", "up"], check=True)
    conf = network.cni_conf(net, node, data_dir)
    try:
        result: dict[str, object] = {}
        for plugin in conf["plugins"]:
            result = _call("ADD", conf, plugin, node, space, name, result)
        address = result["ips"][0]["address"].partition("/")[0]  # type: ignore[index]
        yield space, address
    finally:
        for plugin in reversed(conf["plugins"]):
            _call("DEL", conf, plugin, node, space, name, {})
        subprocess.run(["ip", "netns", "delete", space], check=True)


def _call(
    command: str,
    conf: dict[str, object],
    plugin: dict[str, object],
    node: network.NodeNetwork,
    space: str,
    name: str,
    previous: dict[str, object],
) -> dict[str, object]:
    given = {"cniVersion": conf["cniVersion"], "name": conf["name"], **plugin}
    if previous:
        given["prevResult"] = previous
    env = {
        **os.environ,
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": f"test-{name}",
        "CNI_NETNS": f"/run/netns/{space}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(PLUGINS),
    }
    argv = node.command([str(PLUGINS / str(plugin["type"]))])
    done = subprocess.run(argv, input=json.dumps(given), env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout else {}


def inside(space: str, argv: Sequence[str], *, timeout: float = 20) -> str:
    """What a program prints when it runs in a namespace ("" is the machine)."""
    prefix = ["nsenter", f"--net=/run/netns/{space}", "--"] if space else []
    done = subprocess.run([*prefix, *argv], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout.strip()
