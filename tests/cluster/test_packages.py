"""Installing what is missing, with an apt-get that does as it is told by the test."""

from pathlib import Path

import pytest

from pynetes.cluster import packages
from pynetes.cluster.errors import ClusterError

POLICY = "policy-rc.d"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH but for the shell; one program and one file are needed, and neither is there."""
    (tmp_path / "sh").symlink_to("/bin/sh")
    (tmp_path / "touch").symlink_to("/usr/bin/touch")
    (tmp_path / "chmod").symlink_to("/bin/chmod")
    (tmp_path / "cat").symlink_to("/bin/cat")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages, "NEEDED", {"etcd": "etcd-server", str(tmp_path / "cni"): "cni-plugins"})
    monkeypatch.setattr(packages, "POLICY", tmp_path / POLICY)
    return tmp_path


def apt_get(folder: Path, script: str) -> None:
    """Put an apt-get into the folder; it writes its arguments and what policy-rc.d says."""
    program = folder / "apt-get"
    program.write_text(f'#!/bin/sh\ncd {folder}\necho "$@" >>calls\ncat {POLICY} >seen 2>/dev/null\n{script}\n')
    program.chmod(0o755)


async def test_without_apt_get_the_programs_are_named(folder: Path) -> None:
    """Another distribution gets a list to install by hand."""
    with pytest.raises(ClusterError) as refused:
        await packages.install(packages.missing())
    assert str(refused.value) == "these programs are missing and this is no Debian: cni-plugins etcd-server"
    assert "package manager" in refused.value.remedy


async def test_a_failing_apt_get_is_quoted(folder: Path) -> None:
    """One line: its own last words, after a second try with fresh lists."""
    apt_get(folder, "echo Reading >&2; echo 'E: Unable to locate package etcd-server' >&2; exit 100")
    with pytest.raises(ClusterError) as refused:
        await packages.install(["etcd-server"])
    assert str(refused.value) == ("apt-get could not install etcd-server: E: Unable to locate package etcd-server")
    assert refused.value.remedy == "apt-get update && apt-get install etcd-server"
    calls = (folder / "calls").read_text().splitlines()
    assert [next(word for word in call.split() if word in ("install", "update")) for call in calls] == [
        "install",
        "update",
        "install",
    ]
    assert not (folder / POLICY).exists()


async def test_services_are_held_back_while_installing(folder: Path) -> None:
    """policy-rc.d forbids starting, and is gone afterwards."""
    apt_get(folder, "touch etcd cni; chmod +x etcd")
    await packages.install(packages.missing())
    assert packages.missing() == []
    assert (folder / "seen").read_text() == packages.NO_STARTS
    assert not (folder / POLICY).exists()


async def test_the_rest_of_a_killed_install_is_cleared_away(folder: Path) -> None:
    """A policy-rc.d of ours that a killed `up` left would keep the machine's services from ever starting."""
    (folder / POLICY).write_text(packages.NO_STARTS)
    apt_get(folder, "touch etcd cni; chmod +x etcd")
    await packages.install(packages.missing())
    assert not (folder / POLICY).exists()


async def test_a_policy_of_the_machine_s_own_stays(folder: Path) -> None:
    """Somebody else's file is neither replaced nor removed."""
    (folder / POLICY).write_text("#!/bin/sh\nexit 0\n")
    apt_get(folder, "touch etcd cni; chmod +x etcd")
    await packages.install(packages.missing())
    assert (folder / POLICY).read_text() == "#!/bin/sh\nexit 0\n"


async def test_what_apt_get_did_not_bring_is_told(folder: Path) -> None:
    """apt-get succeeded, and the program is not there all the same."""
    apt_get(folder, "touch etcd; chmod +x etcd")
    with pytest.raises(ClusterError, match="installed, but still missing: cni-plugins"):
        await packages.install(packages.missing())


async def test_nothing_missing_calls_nobody(folder: Path) -> None:
    """A machine that has all needs no apt-get."""
    await packages.install([])
