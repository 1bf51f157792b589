"""RouterOS versions, in their own order: 7.9 comes before 7.10, and 7.24rc2 before 7.24."""

import functools
import re
from dataclasses import dataclass, field

_VERSION = re.compile(
    r"(?P<major>\d+)\.(?P<minor>\d+)(?:\.(?P<patch>\d+))?(?:(?P<stage>alpha|beta|rc)(?P<nth>\d+))?"
)
_FIRST_OF_V7 = 7
_STAGES = {"alpha": 0, "beta": 1, "rc": 2, None: 3}


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One RouterOS version, from the text a router shows: `6.49.10`, `7.24rc2`."""

    major: int
    minor: int
    patch: int
    stage: int
    nth: int
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Read a version.

        Raises:
            ValueError: The text is no RouterOS version.
        """
        found = _VERSION.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"not a RouterOS version: {text!r}, expected for example 6.49.10")
        return cls(
            major=int(found["major"]),
            minor=int(found["minor"]),
            patch=int(found["patch"] or 0),
            stage=_STAGES[found["stage"]],
            nth=int(found["nth"] or 0),
            text=text.strip(),
        )

    def at_least(self, text: str) -> bool:
        """Tell whether this version is `text` or newer; its betas and candidates count as it."""
        other = _parsed(text)
        ours = (self.major, self.minor, self.patch)
        return ours >= (other.major, other.minor, other.patch)

    @property
    def is_v6(self) -> bool:
        """Whether this is RouterOS 6, or older."""
        return self.major < _FIRST_OF_V7

    @property
    def shown(self) -> str:
        """The version as `/system/resource/print` shows it.

        Releases carry their channel, release candidates do not (recorded rows of 6.48.6, 7.4
        and 7.24rc2).
        """
        return f"{self.text} (stable)" if self.stage == _STAGES[None] else self.text


@functools.cache
def _parsed(text: str) -> Version:
    """Keep the few versions that the code asks for; rows ask often."""
    return Version.parse(text)
