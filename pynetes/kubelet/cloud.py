"""A node of a cloud: what its kubelet learns from the metadata service before it registers.

With --cloud-provider=external the node registers with the uninitialized taint, and its addresses are the cloud's
business from then on. --cloud-metadata is ours: it saves the script that would otherwise ask the service and pass
--provider-id and --node-ip.
"""

import logging
from dataclasses import replace

from pynetes.client.imds import Metadata, NoMetadata
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.kubelet.config import Config
from pynetes.machinery.meta import Object

log = logging.getLogger(__name__)

UNINITIALIZED: Object = {
    "key": "node.cloudprovider.kubernetes.io/uninitialized",
    "value": "true",
    "effect": "NoSchedule",
}
#: Tells the cloud controller which of the addresses to prefer.
PROVIDED_NODE_IP = "alpha.kubernetes.io/provided-node-ip"
RETRY = 1.0


def is_external(config: Config) -> bool:
    """Whether a cloud controller manager looks after this node."""
    return config.cloud_provider == "external"


async def learnt(config: Config, clock: Clock) -> Config:
    """The configuration with provider ID and address from the metadata service, where no flag says otherwise."""
    if not config.cloud_metadata or (config.provider_id and config.node_ip):
        return config
    while True:
        try:
            async with Metadata(config.cloud_metadata) as metadata:
                found = await metadata.whoami()
        except NoMetadata as error:
            log.warning(logs.fact("the metadata service does not say who this is", error=error))
            await clock.sleep(RETRY)
            continue
        log.info(logs.fact("learnt from the metadata service", instance=found.instance, address=found.address))
        return replace(
            config,
            provider_id=config.provider_id or found.provider_id,
            node_ip=config.node_ip or found.address,
        )
