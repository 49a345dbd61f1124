"""docs/ci.md: its pipelines are well-formed, and their scripts do as they stand what the page says.

Left out is what only the products have: `uses:` steps (a checkout and a Python, which the test has), images, caches
and the upload of reports. The script with `pynetes up` needs a machine of its own; here its commands and
paths are compared with the program's.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pynetes.cluster.config import Cluster
from tests.delivery.conftest import found

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text()
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
#: The keys that the products' documentation has, as far as a pipeline of ours may use them.
WORKFLOW = {"name", "on", "permissions", "jobs", "env", "concurrency", "defaults"}
WORKFLOW_JOB = {
    "name",
    "runs-on",
    "timeout-minutes",
    "steps",
    "strategy",
    "env",
    "needs",
    "container",
    "services",
    "if",
}
STEP = {"uses", "with", "run", "name", "env", "if", "id", "shell", "working-directory"}
GITLAB_JOB = {
    "image", "timeout", "variables", "cache", "script", "before_script", "after_script", "artifacts", "tags", "rules",
    "stage", "needs", "services",
}  # fmt: skip
ARTIFACTS = {"when", "reports", "paths", "expire_in", "name", "exclude"}


def workflow() -> Any:
    """GitHub's."""
    return next(block for block in BLOCKS if "jobs" in block)


def gitlab() -> dict[str, Any]:
    """GitLab's jobs by name."""
    return {name: job for block in BLOCKS if "jobs" not in block for name, job in block.items()}


def test_pipelines_have_keys_that_the_products_know() -> None:
    """A word that a product does not know makes it refuse the whole file."""
    shown = workflow()
    assert {"on" if key is True else key for key in shown} <= WORKFLOW  # YAML 1.1 reads `on` as true
    for job in shown["jobs"].values():
        assert {"runs-on", "steps"} <= set(job) <= WORKFLOW_JOB
        for step in job["steps"]:
            assert set(step) <= STEP
            assert ("uses" in step) != ("run" in step)
            assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])
    assert set(gitlab()) == {"test", "e2e"}
    for job in gitlab().values():
        assert "script" in job and set(job) <= GITLAB_JOB
        assert all(isinstance(line, str) for line in (*job["script"], *job.get("after_script", ())))
        assert set(job["artifacts"]) <= ARTIFACTS
        assert job["artifacts"]["when"] in ("always", "on_failure", "on_success")


def test_the_whole_clusters_pipeline_calls_what_there_is() -> None:
    """Each flag is the program's, and the kubeconfig lies where `up` puts it."""
    job = gitlab()["e2e"]
    lines = [*job["script"], *job["after_script"]]
    called = [line.split() for line in lines if line.startswith("pynetes ")]
    assert [words[1] for words in called] == ["up", "logs", "reset"]
    for words in called:
        shown = subprocess.run(
            [sys.executable, "-m", "pynetes.cmd.main", words[1], "--help"], capture_output=True, text=True, check=True
        ).stdout
        assert all(word in shown for word in words if word.startswith("--")), words
    (exported,) = [line for line in lines if line.startswith("export KUBECONFIG=")]
    where = exported.partition("=")[2].replace("$CI_JOB_ID", "7")
    assert Path(where) == Cluster(name="ci-7").admin_conf


def scripts() -> Iterator[Any]:
    """The steps of the pipelines that need a Python only."""
    steps = [step["run"] for job in workflow()["jobs"].values() for step in job["steps"] if "run" in step]
    yield pytest.param(steps, [], id="github")
    job = gitlab()["test"]
    yield pytest.param(job["script"], list(job["artifacts"]["reports"].values()), id="gitlab")


def build(python: Path, folder: Path) -> Path:
    """Pynetes as a registry would have it."""
    source, wheels = folder / "source", folder / "wheels"
    shutil.copytree(ROOT / "pynetes", source / "pynetes", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (wanted,) = tomllib.loads((source / "pyproject.toml").read_text())["build-system"]["requires"]
    asked = subprocess.run(
        [python, "-c", "import setuptools; print(setuptools.__version__)"], capture_output=True, text=True
    )
    # What builds is fetched where it is not there.
    alone = [] if f"setuptools=={asked.stdout.strip()}" != wanted else ["--no-build-isolation", "--no-index"]
    command = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", *alone, "--wheel-dir", wheels, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and not alone and "No matching distribution" in done.stderr:
        pytest.skip(f"needs {wanted}, and no registry is reachable")
    assert done.returncode == 0, done.stderr
    return wheels


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout of somebody's repository: a chart, the page's test of it, no requirements of its own."""
    (shown,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    made = tmp_path / "checkout"
    shutil.copytree(ROOT / "examples" / "chart-shop", made / "chart")
    (made / "tests").mkdir()
    (made / "tests" / "test_chart.py").write_text(shown)
    (made / "requirements.txt").touch()
    return made


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a clean Python: its registry is the wheel, its requirements are the packages here."""
    folder = tmp_path_factory.mktemp("clean")
    (folder / "bin").mkdir()
    (folder / "bin" / "helm").symlink_to(found("helm"))
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    packages = folder / "packages"
    packages.mkdir()
    for place in dict.fromkeys(path for path in sys.path if path.endswith("site-packages")):
        for each in Path(place).iterdir():
            if "pynetes" not in each.name and each.suffix != ".pth" and not (packages / each.name).exists():
                (packages / each.name).symlink_to(each)
    site = sysconfig.get_path("purelib", vars={"base": str(folder / "venv")})
    (Path(site) / "requirements.pth").write_text(f"{packages}\n")
    wheels = build(folder / "venv" / "bin" / "python", folder)
    # The command that comes with pytest's package; the links bring modules only.
    command = folder / "venv" / "bin" / "pytest"
    command.write_text(
        f"#!{folder / 'venv' / 'bin' / 'python'}\nimport pytest\nraise SystemExit(pytest.console_main())\n"
    )
    command.chmod(0o755)
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "LANG") if name in os.environ}
    path = f"{folder / 'venv' / 'bin'}:{folder / 'bin'}:{os.environ['PATH']}"
    # Its requirements are not resolved: the clients that other tests need bring versions that moto's packages shut out.
    given = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_NO_COMPILE": "1", "PIP_NO_DEPS": "1"}
    return {**kept, **given, "PATH": path, "PYTEST_XDIST_AUTO_NUM_WORKERS": "2", "VIRTUAL_ENV": str(folder / "venv")}


@pytest.mark.root  # not for root's rights, but for the half minute that it takes
@pytest.mark.parametrize(("script", "reports"), list(scripts()))
def test_scripts_run_as_they_stand(project: Path, clean: dict[str, str], script: list[str], reports: list[str]) -> None:
    """In a clean checkout with a clean Python: Pynetes is installed from its wheel, and the chart's test passes."""
    given = {**clean, "CI_PROJECT_DIR": str(project)}
    # Both products stop at the first line that fails.
    lines = ["bash", "-e", "-c", "\n".join(script)]
    done = subprocess.run(lines, cwd=project, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    site = sysconfig.get_path("purelib", vars={"base": clean["VIRTUAL_ENV"]})
    assert list(Path(site).glob("pynetes-*.dist-info")), "it was not the wheel that was tested"
    assert all((project / name).exists() for name in reports)
