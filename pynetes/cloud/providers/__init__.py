"""The clouds that are known here, a folder each: providers/NAME has `connect`.

async def connect(settings: Settings) -> Provider
"""

import importlib
import pkgutil
from dataclasses import dataclass, field

from pynetes.cloud.provider import Provider
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.remedy import RemedyError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a provider is told: the text of --cloud-config, and whose resources are ours."""

    config: str
    cluster: str
    clock: Clock = field(default_factory=SystemClock)


class BadCloud(RemedyError):
    """There is no such cloud here, or its configuration cannot be used."""


def known() -> list[str]:
    """The names for --cloud-provider."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


async def connect(name: str, settings: Settings) -> Provider:
    """The provider of this name. Raises BadCloud."""
    if name not in known():
        raise BadCloud(f"there is no cloud provider {name!r}", f"--cloud-provider is one of {', '.join(known())}")
    module = importlib.import_module(f"{__name__}.{name}")
    provider: Provider = await module.connect(settings)
    return provider
