"""The admission plugins, in the one order in which they run."""

from collections.abc import Sequence

from pynetes.apiserver.admission.attributes import Attributes, Plugin
from pynetes.apiserver.objects import Context

#: Order matters: what fills in comes before what counts, and quota comes last because it charges.
DEFAULT: tuple[Plugin, ...] = ()


class Chain:
    """Runs plugins in order; the first StatusError ends the request."""

    def __init__(self, ctx: Context, plugins: Sequence[Plugin] = DEFAULT) -> None:
        self.ctx = ctx
        self.plugins = plugins

    async def admit(self, attributes: Attributes) -> None:
        """Before validation: plugins may change attributes.obj."""
        for plugin in self.plugins:
            await plugin.admit(self.ctx, attributes)

    async def validate(self, attributes: Attributes) -> None:
        """After validation: plugins may only refuse."""
        for plugin in self.plugins:
            await plugin.validate(self.ctx, attributes)
