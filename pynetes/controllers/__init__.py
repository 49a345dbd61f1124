"""The controllers, one module or package each, named as in --controllers.

The folder is the registry: `load` imports what it finds and demands CONTROLLER, or `controller(config)` where a
controller depends on the configuration (None: not wanted under it). Modules starting with an underscore hold what
several share. Each controller is a pure decision, a short reconcile, and its record; see client/controller.py.
"""

import importlib
import pkgutil

from pynetes.client.controller import Controller
from pynetes.controllers._config import Config

__all__ = ["Config", "load"]


def load(config: Config | None = None) -> tuple[Controller, ...]:
    """All controllers under a configuration. AttributeError on a module that declares none."""
    wanted = config or Config()
    found = (_declared(module.name, wanted) for module in pkgutil.iter_modules(__path__) if module.name[0] != "_")
    return tuple(controller for controller in found if controller is not None)


def _declared(name: str, config: Config) -> Controller | None:
    module = importlib.import_module(f"{__name__}.{name}")
    make = getattr(module, "controller", None)
    made: Controller | None = make(config) if make else module.CONTROLLER
    return made
