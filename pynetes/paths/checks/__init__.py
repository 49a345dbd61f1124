"""The checks, one file per group of paths; each file declares CHECKS at its bottom."""

import importlib
import pkgutil

from pynetes.paths.check import Check


def load() -> tuple[Check, ...]:
    """All checks of this folder. Raises AttributeError on a file that declares none."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(check for name in modules for check in importlib.import_module(f"{__name__}.{name}").CHECKS)
