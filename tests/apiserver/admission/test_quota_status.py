"""A quota whose status does not say what is used."""

from tests.apiserver.harness import CONFIGMAPS, api, configmap

QUOTAS = "/api/v1/namespaces/default/resourcequotas"


async def test_a_limit_without_a_usage_stops_everything() -> None:
    """Of the kind that is limited, until the status says what is used; others go on."""
    async with api() as server:
        await server.post(QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "5"}}})
        hard = {"configmaps": "5", "count/configmaps": "5", "secrets": "1"}
        await server.merge(f"{QUOTAS}/q/status", {"status": {"hard": hard, "used": {"configmaps": "0"}}})
        # A list waits until the cache, by which admission decides too, has all that was written.
        await server.get(QUOTAS)
        refused = await server.post(CONFIGMAPS, configmap("a"))
        assert (refused.status, refused.body["message"]) == (
            403,
            'configmaps "a" is forbidden: status unknown for quota: q, resources: configmaps,count/configmaps',
        )
        services = "/api/v1/namespaces/default/services"
        assert (
            await server.post(services, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}})
        ).status == 201
        used = dict.fromkeys(hard, "0")
        await server.merge(f"{QUOTAS}/q/status", {"status": {"used": used}})
        await server.get(QUOTAS)
        assert (await server.post(CONFIGMAPS, configmap("a"))).status == 201
