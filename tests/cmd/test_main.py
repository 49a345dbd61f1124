"""What a person meets at the command line: typos, wrong flags, no cluster."""

from pathlib import Path

import pytest

from pynetes.cmd import main as command

NO_CLUSTER = ("--data-dir", "/nonexistent/pynetes")


@pytest.mark.parametrize(
    ("argv", "status", "error", "remedy"),
    [
        (["upp"], 2, "there is no command 'upp'", "did you mean 'up'?"),
        (["xyzzy"], 2, "there is no command 'xyzzy'", "one of up, down"),
        (["up", "--node", "3"], 2, "unrecognized arguments: --node 3", "see `pynetes up --help`"),
        (["up", "--nodes", "0"], 1, "--nodes 0: a machine can play 1 to 50 nodes", "choose a number between them"),
        (["up", "--nodes", "many"], 2, "argument --nodes: invalid int value: 'many'", "see `pynetes up --help`"),
        (["up", "--cluster", "../x"], 1, "'../x' cannot name a cluster", "use at most 20"),
        (["reset", "--yes", "--cluster", ".."], 1, "'..' cannot name a cluster", "use at most 20"),
        (["kubectl", "--cluster", "..", "get", "pods"], 1, "'..' cannot name a cluster", "use at most 20"),
        (["down", *NO_CLUSTER], 1, "there is no cluster named 'pynetes'", "start it with `pynetes up --data-dir"),
        (["status", *NO_CLUSTER], 1, "there is no cluster named 'pynetes'", "start it with `pynetes up --data-dir"),
        (["kubeconfig", *NO_CLUSTER], 1, "there is no cluster named 'pynetes'", "start it with `pynetes up --data-dir"),
        (
            ["logs", "etcd", *NO_CLUSTER],
            1,
            "there is no cluster named 'pynetes'",
            "start it with `pynetes up --data-dir",
        ),
        (["certs", *NO_CLUSTER], 1, "there is no cluster named 'pynetes'", "start it with `pynetes up --data-dir"),
        (["certs", "lst"], 2, "argument action: invalid choice: 'lst'", "see `pynetes certs --help`"),
        (["kubelet"], 1, "not in a pod", "give a kubeconfig"),
        (["proxy", "--kubeconfig", "/nonexistent"], 1, "", "give a kubeconfig"),
    ],
)
def test_mistakes_are_told_in_one_line_with_the_remedy(
    argv: list[str], status: int, error: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, no page of usage; 2 is for what was typed, 1 for what was found."""
    try:
        ended = command.main(argv)
    except SystemExit as exit_:
        ended = int(exit_.code or 0)
    told = capsys.readouterr().err.splitlines()
    assert ended == status
    assert len(told) == 2
    assert told[0].startswith(f"error: {error}")
    assert told[1].startswith(f"remedy: {remedy}")


def test_a_relative_data_dir_means_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Processes run in /, and the next command elsewhere."""
    monkeypatch.chdir(tmp_path)
    command.main(["status", "--data-dir", "here"])
    assert f"--data-dir {tmp_path.resolve()}/here`" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["help"], ["--help"], ["-h"]])
def test_help_names_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And says with which one to begin."""
    assert command.main(argv) == 0
    told = capsys.readouterr().out
    assert all(f"  pynetes {name} " in told for name in (*command.CLUSTER, *command.COMPONENTS))
    assert "Start with `pynetes up`" in told
