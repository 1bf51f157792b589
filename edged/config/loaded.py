"""What loading a configuration gives. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass

from edged.config.errors import ConfigError
from edged.config.types import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A valid configuration and where it came from."""

    config: Config
    source: str
    """The file that was used; ``environment`` if there was none."""
    warnings: tuple[ConfigError, ...]
    origins: Mapping[str, str]
    """For each key that was set: ``config.toml:12`` or the variable. Defaults are left out."""
