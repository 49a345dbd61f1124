"""The controllers of the cloud controller manager, one module each, named as in upstream's --controllers.

As with pynetes/controllers, the folder is the registry: each module has `controller(config)`, None where the provider
lacks what it needs.
"""

import importlib
import pkgutil

from pynetes.client.controller import Controller
from pynetes.cloud.controllers._config import Config

__all__ = ["Config", "load"]


def load(config: Config) -> tuple[Controller, ...]:
    """All controllers that this provider can serve."""
    names = (module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_")
    made = (importlib.import_module(f"{__name__}.{name}").controller(config) for name in names)
    return tuple(controller for controller in made if controller is not None)
