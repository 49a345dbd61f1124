"""Put the Ansible collections that tests/delivery runs into this environment, and no others.

PyPI has kubernetes.core only inside the package ansible: a wheel of 54 MB that unpacks to 259 MB in 40,000 files. The
wheel is fetched, two collections of 2 MB are taken out of it, and the rest is thrown away. ansible-core comes with the
extra `ansible` of pyproject.toml.
"""

import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

#: The release whose collections go with the ansible-core that is pinned.
RELEASE = "ansible==12.3.0"
#: The second one tells results as JSON.
WANTED = ("ansible_collections/kubernetes/core/", "ansible_collections/ansible/posix/")


def main() -> int:
    """0 when they are there."""
    site = Path(sysconfig.get_path("purelib"))
    if all((site / folder).exists() for folder in WANTED):
        return 0
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run([*pip, "--only-binary=:all:", "--dest", folder, RELEASE], check=False)
        if done.returncode:
            return done.returncode
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site, [name for name in archive.namelist() if name.startswith(WANTED)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
