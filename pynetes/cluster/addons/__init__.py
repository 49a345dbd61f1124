"""The add-ons that `up` applies: YAML files of this folder, with the cluster's own values put in.

$image, $dns_service, $domain, $service_cidr and $paths_dir are replaced; everything else is what `kubectl apply`
would send.
"""

import string
from importlib import resources

import yaml

from pynetes.cluster.config import Cluster
from pynetes.cluster.images import recipes
from pynetes.machinery.meta import Object


def objects(cluster: Cluster) -> list[Object]:
    """All objects of all add-ons, in the order of the files' names."""
    values = {
        "image": recipes.PYNETES,
        "dns_service": cluster.dns_service,
        "domain": cluster.domain,
        "service_cidr": cluster.service_cidr,
        "paths_dir": str(cluster.paths_dir),
    }
    found: list[Object] = []
    files = sorted(resources.files(__name__).iterdir(), key=lambda file: file.name)
    for file in files:
        if file.name.endswith(".yaml"):
            text = string.Template(file.read_text()).substitute(values)
            found += [document for document in yaml.safe_load_all(text) if document]
    return found
