"""Routes in the VPC's route table: the one that carries the cluster's tag, or the one that is configured."""

import contextlib
from collections.abc import Sequence
from typing import Any

from pynetes.cloud.calls import NODES
from pynetes.cloud.provider import Absent, CloudError, Instance, Refused, Route
from pynetes.cloud.providers.aws.sdk import Sdk, filters


class Routes:
    """Entries that lead to instances."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        #: Instances whose source check is off: they forward for pods.
        self._forwarding: set[str] = set()

    async def list(self, machines: Sequence[Instance]) -> Sequence[Route]:
        named = {each.id: each.name for each in machines}
        table = await self._table()
        return [
            Route(
                route["DestinationCidrBlock"],
                named.get(route["InstanceId"], ""),
                dead=route.get("State") == "blackhole" or route["InstanceId"] not in named,
            )
            for route in table["Routes"]
            if route.get("DestinationCidrBlock") and route.get("InstanceId")
        ]

    async def create(self, route: Route, machines: Sequence[Instance]) -> None:
        machine = next((each for each in machines if each.name == route.node), None)
        if machine is None:
            raise Absent(f"EC2 has no instance of the node {route.node}")
        if machine.id not in self._forwarding:
            off = {"Value": False}
            await self._change("modify_instance_attribute", InstanceId=machine.id, SourceDestCheck=off)
            self._forwarding.add(machine.id)
        table = await self._table()
        there = any(each.get("DestinationCidrBlock") == route.cidr for each in table["Routes"])
        await self._change(
            "replace_route" if there else "create_route",
            RouteTableId=table["RouteTableId"],
            DestinationCidrBlock=route.cidr,
            InstanceId=machine.id,
        )

    async def delete(self, route: Route) -> None:
        table = await self._table()
        found = next((each for each in table["Routes"] if each.get("DestinationCidrBlock") == route.cidr), None)
        if found is None:
            return
        if not found.get("InstanceId"):
            raise Refused(f"the route to {route.cidr} leads to no instance, and stays")
        with contextlib.suppress(Absent):
            await self._change("delete_route", RouteTableId=table["RouteTableId"], DestinationCidrBlock=route.cidr)

    async def _change(self, operation: str, **given: Any) -> None:
        await self._sdk.call("ec2", operation, path=NODES, write=True, **given)

    async def _table(self) -> dict[str, Any]:
        """Raises Refused unless there is exactly one."""
        config = self._sdk.config
        if config.route_table:
            wanted: dict[str, Any] = {"RouteTableIds": [config.route_table]}
        else:
            wanted = {"Filters": filters(tag_key=self._sdk.cluster_tag, vpc_id=config.vpc)}
        found = await self._sdk.pages("ec2", "describe_route_tables", "RouteTables", path=NODES, **wanted)
        if len(found) != 1:
            raise CloudError(
                f"{len(found)} route tables carry the tag {self._sdk.cluster_tag}, exactly one must; "
                "or set RouteTableID in --cloud-config"
            )
        table: dict[str, Any] = found[0]
        return table
