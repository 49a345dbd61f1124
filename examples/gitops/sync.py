"""A small GitOps controller: a namespace follows the manifests of a Git repository.

Every round fetches the repository, applies its manifests by server-side apply under a field manager of its own (which
also takes back what others changed of the fields in Git), then deletes labelled objects that left the repository. After
any failure of a round nothing is deleted: a manifest that could not be read or applied must not count as removed.
Needs git and PyYAML; the API server and the token come from $KUBECONFIG or, in a pod, from the ServiceAccount.
"""

import argparse
import base64
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

MANAGER = "gitops"
LABEL = "gitops.example.com/source"
MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: What it may apply and prune, in the order of applying: kind to (path of the group and version, plural).
KINDS = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "Job": ("apis/batch/v1", "jobs"),
    "CronJob": ("apis/batch/v1", "cronjobs"),
    "Ingress": ("apis/networking.k8s.io/v1", "ingresses"),
}


class Failed(Exception):
    """This round did not work; the next one may."""


class Api:
    """The API server, by a bearer token that is read anew at each request since mounted tokens are replaced."""

    def __init__(self) -> None:
        path = os.environ.get("KUBECONFIG")
        if path:
            config = yaml.safe_load(Path(path).read_text())
            cluster = config["clusters"][0]["cluster"]
            self.url = cluster["server"]
            self.given = config["users"][0]["user"]["token"]
            data = cluster.get("certificate-authority-data")
            self.tls = (
                ssl.create_default_context(cadata=base64.b64decode(data).decode())
                if data
                else ssl.create_default_context(cafile=cluster["certificate-authority"])
            )
        else:
            host = os.environ["KUBERNETES_SERVICE_HOST"]
            host = f"[{host}]" if ":" in host else host
            self.url = f"https://{host}:{os.environ['KUBERNETES_SERVICE_PORT']}"
            self.given = ""
            self.tls = ssl.create_default_context(cafile=str(MOUNTED / "ca.crt"))

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer's object. Raises Failed with the server's own message."""
        token = self.given or (MOUNTED / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=30) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise Failed(f"{method} {path}: {error}") from error


def git(*argv: str) -> str:
    """Run git. Raises Failed with what it said."""
    done = subprocess.run(["git", *argv], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise Failed(f"git {argv[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def checkout(repo: str, branch: str, folder: Path) -> str:
    """Bring the folder to the branch's newest commit; its name."""
    if not (folder / ".git").exists():
        git("init", "--quiet", str(folder))
    git("-C", str(folder), "fetch", "--quiet", "--depth=1", repo, branch)
    git("-C", str(folder), "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
    return git("-C", str(folder), "rev-parse", "--short", "HEAD")


def manifests(folder: Path, namespace: str, source: str) -> list[dict[str, Any]]:
    """What the repository wants, labelled. Raises Failed for anything this controller could not prune later."""
    if not folder.is_dir():
        raise Failed(f"the repository has no folder {folder.name}")
    wanted = []
    for file in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
        if file.is_symlink():
            raise Failed(f"{file.name}: symbolic links are not followed")
        try:
            documents = [document for document in yaml.safe_load_all(file.read_text()) if document]
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise Failed(f"{file.name}: {error}") from error
        for document in documents:
            kind = document.get("kind") if isinstance(document, dict) else None
            if kind not in (*KINDS, "Namespace") or not document.get("metadata", {}).get("name"):
                raise Failed(f"{file.name}: kind {kind}: needs a name, and to be one of {', '.join(KINDS)}")
            metadata = document["metadata"]
            if kind == "Namespace" and metadata["name"] == namespace:
                continue  # It is there already, and the rights of one namespace do not reach it.
            if kind == "Namespace" or metadata.setdefault("namespace", namespace) != namespace:
                raise Failed(f"{file.name}: {kind} {metadata['name']} is not of namespace {namespace}")
            metadata["labels"] = {**(metadata.get("labels") or {}), LABEL: source}
            wanted.append(document)
    return sorted(wanted, key=lambda document: list(KINDS).index(document["kind"]))


def collection(kind: str, namespace: str) -> str:
    """The path of a kind's objects in the namespace."""
    base, plural = KINDS[kind]
    return f"{base}/namespaces/{namespace}/{plural}"


def sync(api: Api, wanted: list[dict[str, Any]], namespace: str, source: str) -> list[str]:
    """Apply all, then prune; what changed. Raises Failed, before pruning, if anything was refused."""
    changed, refused = [], []
    listed = {}
    query = urllib.parse.urlencode({"labelSelector": f"{LABEL}={source}"})
    for kind in KINDS:
        for item in api.ask("GET", f"{collection(kind, namespace)}?{query}")["items"]:
            listed[kind, item["metadata"]["name"]] = item["metadata"]
    for document in wanted:
        kind, name = document["kind"], document["metadata"]["name"]
        path = f"{collection(kind, namespace)}/{name}?fieldManager={MANAGER}&force=true"
        try:
            now = api.ask("PATCH", path, document)["metadata"]
        except Failed as error:
            refused.append(str(error))
            continue
        if now["resourceVersion"] != listed.pop((kind, name), {}).get("resourceVersion"):
            changed.append(f"applied {kind}/{name}")
    if refused:
        raise Failed("; ".join(refused))
    for (kind, name), metadata in listed.items():
        if metadata.get("deletionTimestamp"):
            continue
        options = {"preconditions": {"uid": metadata["uid"]}, "propagationPolicy": "Background"}
        api.ask("DELETE", f"{collection(kind, namespace)}/{name}", options)
        changed.append(f"pruned {kind}/{name}")
    return changed


def main() -> int:
    """Rounds until stopped, or one with --once; then 1 if it failed."""
    parser = argparse.ArgumentParser(description="Keep a namespace as a Git repository has it.")
    parser.add_argument("--repo", required=True, help="folder or URL of the repository")
    parser.add_argument("--branch", default="HEAD")
    parser.add_argument("--path", default=".", help="folder of the manifests within it")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--source", default="main", help="the label's value; one for each repository in a namespace")
    parser.add_argument("--interval", type=float, default=30.0, help="seconds between rounds")
    parser.add_argument("--once", action="store_true")
    flags = parser.parse_args()
    api = Api()
    with tempfile.TemporaryDirectory() as made:
        while True:
            try:
                commit = checkout(flags.repo, flags.branch, Path(made))
                wanted = manifests(Path(made) / flags.path, flags.namespace, flags.source)
                for line in sync(api, wanted, flags.namespace, flags.source):
                    sys.stdout.write(f"{commit} {line}\n")
                sys.stdout.flush()
            except (Failed, subprocess.TimeoutExpired) as error:
                sys.stderr.write(f"failed: {error}\n")
                if flags.once:
                    return 1
            if flags.once:
                return 0
            time.sleep(flags.interval)


if __name__ == "__main__":
    sys.exit(main())
