"""Load balancers of both kinds: the Service's annotation decides which one it gets."""

from collections.abc import Mapping
from typing import Any

from pynetes.cloud import names
from pynetes.cloud.calls import BALANCERS
from pynetes.cloud.inventory import FRESH, Recent
from pynetes.cloud.provider import Balancer, Ensured
from pynetes.cloud.providers.aws import annotations
from pynetes.cloud.providers.aws.classic import Classic
from pynetes.cloud.providers.aws.instances import described
from pynetes.cloud.providers.aws.network import Network
from pynetes.cloud.providers.aws.nlb import NetworkBalancers
from pynetes.cloud.providers.aws.sdk import Sdk
from pynetes.machinery.meta import Key, parse_key


class Balancers:
    """Those of one cluster."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk, self._network = sdk, Network(sdk)
        # VPC and security groups of the instances: Services that are looked at together share one describe call.
        self._machines = Recent(self._described, sdk.clock)
        self._classic, self._nlb = Classic(sdk, self._network), NetworkBalancers(sdk, self._network)

    async def _described(self) -> dict[str, dict[str, Any]]:
        return {each["InstanceId"]: each for each in await described(self._sdk, path=BALANCERS)}

    async def names(self) -> Mapping[str, Key]:
        listed = {**await self._classic.listed(), **await self._nlb.listed()}
        return {
            name: parse_key(carried[names.SERVICE_TAG])
            for name, carried in listed.items()
            if self._sdk.is_ours(carried) and names.SERVICE_TAG in carried
        }

    async def ensure(self, wanted: Balancer) -> Ensured:
        settings = annotations.read(wanted)
        ids = {each.instance for each in wanted.targets}
        known = await self._machines.get(newer_than=FRESH)
        if not ids <= known.keys():
            self._machines.forget()
            known = await self._machines.get(newer_than=FRESH)
        machines = [each for id_, each in known.items() if id_ in ids]
        vpc = await self._network.vpc(machines)
        kind = self._nlb if settings.network else self._classic
        return await kind.ensure(wanted, settings, vpc, machines)

    async def delete(self, name: str) -> bool:
        classic, network = await self._classic.delete(name), await self._nlb.delete(name)
        return classic or network
