"""The small part of kubernetes_asyncio that edged uses: credentials, TLS, an HTTP session.

Its packages import 843 generated models, its Watch and more, whatever part is named: 63 MB and half
a second (version 36.1). So the packages are entered without running their `__init__`, and only the
modules for configuration and transport are loaded: 2 MB. Should a later version be laid out
differently, everything is imported as its authors meant it.
"""

import functools
import importlib
import importlib.util
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

ROOT: Final = "kubernetes_asyncio"
CLIENT: Final = f"{ROOT}.client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """What is used of it; untyped as the library is."""

    configuration: Callable[[], Any]
    transport: Callable[[Any], Any]
    config_error: type[Exception]
    load_in_cluster: Callable[..., None]
    load_kubeconfig: Callable[..., Awaitable[object]]


@functools.cache
def library() -> Library:
    """Load it, once."""
    if ROOT not in sys.modules:
        try:
            _enter_without_init()
            return _collect()
        except (ImportError, AttributeError):
            for name in [name for name in sys.modules if name.split(".")[0] == ROOT]:
                del sys.modules[name]
    return _collect()


def _enter_without_init() -> None:
    """Put both packages where imports look for them, with nothing in them yet."""
    found = importlib.util.find_spec(ROOT)
    if found is None or not found.submodule_search_locations:
        raise ImportError(ROOT)
    folder = found.submodule_search_locations[0]
    for name, path in ((ROOT, folder), (CLIENT, f"{folder}/client")):
        package = ModuleType(name)
        package.__path__ = [path]
        sys.modules[name] = package
    client: Any = sys.modules[CLIENT]
    client.Configuration = importlib.import_module(f"{CLIENT}.configuration").Configuration
    client.ApiClient = None  # named by kube_config, used only by what we do not call


def _collect() -> Library:
    configuration = importlib.import_module(f"{CLIENT}.configuration").Configuration
    config = importlib.import_module(f"{ROOT}.config")
    return Library(
        configuration=lambda: type.__call__(configuration),  # not a copy of the shared default
        transport=importlib.import_module(f"{CLIENT}.rest").RESTClientObject,
        config_error=config.ConfigException,
        load_in_cluster=config.load_incluster_config,
        load_kubeconfig=config.load_kube_config,
    )
