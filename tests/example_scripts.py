"""The scripts of examples/ as modules, to test their parts."""

import importlib.util
from types import ModuleType

from tools.notebooks import ROOT


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
