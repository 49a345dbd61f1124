"""What the verbs share: the cache and stores of every resource, admission, the registry's handlers, the clock."""

from collections.abc import Iterable
from dataclasses import dataclass

from pynetes.apiserver.admission.attributes import Attributes
from pynetes.apiserver.admission.chain import Chain
from pynetes.apiserver.compression import Compressor
from pynetes.apiserver.config import Config
from pynetes.apiserver.conversion import convert
from pynetes.apiserver.crd.conversion import Conversions
from pynetes.apiserver.http import Request
from pynetes.apiserver.objects import Context
from pynetes.apiserver.served import Served
from pynetes.component.clock import Clock
from pynetes.machinery import errors, schema
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource
from pynetes.storage.backend import Backend
from pynetes.storage.cache import Cacher, ResourceCache
from pynetes.storage.entry import Encoded
from pynetes.storage.store import Store


@dataclass(slots=True)
class Scope:
    """Where a request is at: the resource, the version it is spoken to in, and the object."""

    resource: Resource
    version: str
    subresource: str
    namespace: str
    name: str

    @property
    def api_version(self) -> str:
        """As objects of this scope bear it."""
        return f"{self.resource.group}/{self.version}" if self.resource.group else self.version

    @property
    def key(self) -> Key:
        """Of the object."""
        return Key(self.namespace, self.name)

    @property
    def native(self) -> bool:
        """Whether stored bytes can be sent as they are."""
        return self.api_version == self.resource.storage_api_version and not self.resource.mixed

    @property
    def built_in(self) -> bool:
        """Whether the kind is the package's own: those have protobuf forms."""
        return self.resource.schema is None

    def not_found(self) -> errors.StatusError:
        """404 for the object."""
        return errors.not_found(self.resource.plural, self.resource.group, self.name)

    def decode(self, obj: Object) -> list[str]:
        """Normalise an object in the scope's version; the paths of unknown fields."""
        return schema.of(self.resource, self.version).decode(obj)

    def default(self, obj: Object) -> None:
        """Fill in defaults."""
        schema.of(self.resource, self.version).default(obj)

    def stored(self, obj: Object) -> Object:
        """The object in the version in which it is stored."""
        stored = convert(self.resource, obj, self.resource.storage_api_version)
        if not self.built_in and self.api_version != self.resource.storage_api_version:
            # What the version that is stored does not know is not kept.
            schema.of(self.resource, self.resource.storage_version).decode(stored)
        return stored

    def shown(self, obj: Object) -> Object:
        """The object in the version of this scope."""
        if self.resource.mixed and (self.resource.conversion is None or obj.get("apiVersion") == self.api_version):
            # As what is stored is read: by the schema of its version as that is today.
            found = schema.of(self.resource, obj.get("apiVersion", "").rpartition("/")[2])
            found.decode(obj)
            found.default(obj)
        if obj.get("apiVersion") == self.api_version:
            return obj
        shown = convert(self.resource, obj, self.api_version)
        self.decode(shown)
        return shown


class Api:
    """Made once by app.build; endpoints take it as their first argument."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        backend: Backend,
        cacher: Cacher,
        served: Served,
        chain: Chain,
        context: Context,
    ) -> None:
        self.config = config
        self.clock = clock
        self.backend = backend
        self.cacher = cacher
        self.served = served
        self.chain = chain
        self.context = context
        self.compressor = Compressor()
        self.encoded = Encoded()
        self.conversions = Conversions(context.objects)
        self._stores: dict[str, Store] = {}

    def store(self, resource: Resource) -> Store:
        """Writes objects of a resource."""
        store = self._stores.get(resource.prefix)
        if store is None or store.resource is not resource:
            store = self._stores[resource.prefix] = Store(resource, self.backend, self.cacher)
        return store

    async def prepare(self, scope: Scope, objs: Iterable[Object], *, to: str = "") -> None:
        """Have a webhook convert objects, if there is one, before they are shown, or stored. Raises StatusError 500."""
        if scope.resource.conversion is not None:
            await self.conversions.ready(scope.resource, objs, to or scope.api_version)

    def cache(self, resource: Resource) -> ResourceCache:
        """Reads objects of a resource."""
        return self.cacher.of(resource)

    def attributes(self, request: Request, scope: Scope, operation: str, *, dry_run: bool = False) -> Attributes:
        """What admission sees of this request; obj and old are for the caller to set."""
        assert request.user is not None
        return Attributes(
            user=request.user,
            operation=operation,
            resource=scope.resource,
            namespace=scope.namespace,
            name=scope.name,
            subresource=scope.subresource,
            version=scope.version,
            dry_run=dry_run,
            warnings=request.warnings,
            annotations={} if request.annotations is None else request.annotations,
        )
