"""The controller manager's flags, and the process against a real API server."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pynetes import controllers
from pynetes.apis.core import serviceaccounts
from pynetes.cmd import controller_manager
from pynetes.machinery.meta import Key
from pynetes.testing.cluster import Cluster


@pytest.mark.parametrize(
    ("wanted", "job", "cronjob"),
    [
        (("*",), True, True),
        (("*", "-job-controller"), False, True),
        (("job-controller",), True, False),
        (("unknown-controller",), False, False),
    ],
)
def test_select(wanted: tuple[str, ...], job: bool, cronjob: bool) -> None:
    """--controllers: all, all but some, only some; a name nobody has is no error."""
    names = {each.name for each in controller_manager.select(wanted, controllers.load())}
    assert ("job-controller" in names, "cronjob-controller" in names) == (job, cronjob)


@pytest.mark.parametrize(("text", "seconds"), [("50s", 50), ("1.5m", 90), ("2h", 7200), ("100ms", 0.1)])
def test_durations(text: str, seconds: float) -> None:
    """Durations are written as upstream writes them."""
    made = controller_manager.settings(controller_manager.Config(node_monitor_grace_period=text))
    assert made.node_monitor_grace_period == timedelta(seconds=seconds)


@pytest.mark.parametrize("given", [{"node_monitor_grace_period": "soon"}, {"root_ca_file": "/no/such/file"}])
def test_bad_values_name_the_flag(given: dict[str, Any]) -> None:
    """A value that cannot be used is told with its flag."""
    with pytest.raises(controller_manager.BadConfig, match="--"):
        controller_manager.settings(controller_manager.Config(**given))


async def test_process_with_service_account_tokens(tmp_path: Path) -> None:
    """It takes the Lease, makes the ServiceAccounts it runs as, works with their tokens, and ends on SIGTERM."""
    async with asyncio.timeout(60), Cluster(nodes=0, run_controllers=False, run_scheduler=False) as cluster:
        kubeconfig = tmp_path / "controller-manager.conf"
        kubeconfig.write_bytes(cluster._kubeconfig("system:kube-controller-manager"))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "pynetes.cmd.main", "controller-manager", f"--kubeconfig={kubeconfig}", "--secure-port=0"),
            "--use-service-account-credentials=true",
        )
        try:
            await cluster.until(serviceaccounts.RESOURCE, Key("default", "default"), lambda _: True)
            account = Key("kube-system", "service-account-controller")
            await cluster.until(serviceaccounts.RESOURCE, account, lambda _: True)
        finally:
            process.terminate()
        assert await process.wait() == 0
