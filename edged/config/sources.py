"""Which of its four places each secret comes from.

Owns the rule "exactly one": a systemd credential, a ``…_file``, a variable, or the value itself.
A credential is also found by its name alone, without a key in the file; a key that is set wins
over it. Reads files only to say at once, in one sentence, what will not work later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edged.config.checks import is_http_url
from edged.config.environment import variable_name
from edged.config.findings import Findings, KeyPath, View
from edged.config.secret import Secret, SecretError, SecretKind, SecretSource

DIRECTORY_VARIABLE = "CREDENTIALS_DIRECTORY"

_OPTIONAL = frozenset(
    {("ntfy", "token"), ("alertmanager", "token"), ("webhook", "secret"), ("pagerduty", "url")}
)
_OF_CHANNEL: Mapping[str, tuple[str, ...]] = {
    "telegram": ("token",),
    "ntfy": ("url", "token"),
    "pagerduty": ("routing_key", "url"),
    "alertmanager": ("url", "token"),
    "webhook": ("url", "secret"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where secrets may be looked for."""

    environ: Mapping[str, str]
    origins: Mapping[KeyPath, str]
    """Which variable set a path."""
    directory: Path
    """Relative paths begin here: the directory of the configuration file."""
    exposed_mode: int | None
    """The file's permissions if group or others may read it."""
    check: bool
    """Whether a secret that is not there now is a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    table: View
    key: str
    credentials: tuple[str, ...]
    """Names to look for; the first is the one to recommend."""
    is_needed: bool

    @property
    def path(self) -> KeyPath:
        return (*self.table.path, self.key)

    @property
    def spellings(self) -> tuple[str, ...]:
        return tuple(f"{self.key}{end}" for end in ("_file", "_env", "_credential", ""))


def find_secrets(root: View, places: Places, findings: Findings) -> dict[KeyPath, SecretSource]:
    """Return the source of every secret, by the path of its plain key."""
    sources: dict[KeyPath, SecretSource] = {}
    for wanted in _all_wanted(root):
        source = _choose(wanted, places, findings)
        if source is not None:
            sources[wanted.path] = source
            if places.check:
                _try(wanted, source, findings)
    return sources


def _all_wanted(root: View) -> Iterator[_Wanted]:
    routers = root.tables("router")
    for table in routers:
        own = f"router-{table.text('name') or table.path[-1]}-password"
        names = (own, "router-password")
        recommended = names if len(routers) > 1 else names[::-1]
        yield _Wanted(table=table, key="password", credentials=recommended, is_needed=True)
    for table in root.tables("channel"):
        kind = table.text("type") or ""
        for key in _OF_CHANNEL.get(kind, ("url",)):
            own = f"channel-{table.text('name') or table.path[-1]}-{key.replace('_', '-')}"
            needed = (kind, key) not in _OPTIONAL and not table.is_bad("type") and bool(kind)
            yield _Wanted(table=table, key=key, credentials=(own,), is_needed=needed)
    switch = root.table("dead_mans_switch")
    if switch is not None:
        yield _Wanted(
            table=switch, key="url", credentials=("dead-mans-switch-url",), is_needed=True
        )


def _choose(wanted: _Wanted, places: Places, findings: Findings) -> SecretSource | None:
    given = [spelling for spelling in wanted.spellings if wanted.table.has(spelling)]
    if len(given) > 1:
        listed = " and ".join([", ".join(given[:-1]), given[-1]])
        findings.error(
            (*wanted.table.path, given[-1]),
            "two_sources",
            f"{listed} are set, and a secret has exactly one place: keep one of them",
        )
        return None
    found = _by_name(wanted, places)
    if not given:
        if found is None and wanted.is_needed:
            _report_missing(wanted, places, findings)
            return None if places.check else _expected(wanted)
        return found
    if found is not None and not given[0].endswith("_credential"):
        findings.warn(
            (*wanted.table.path, given[0]),
            "credential_unused",
            f'is used although the credential "{found.credential}" is there, too: keep one of them',
        )
    return _given(wanted, given[0], places, findings)


def _given(
    wanted: _Wanted, spelling: str, places: Places, findings: Findings
) -> SecretSource | None:
    path = (*wanted.table.path, spelling)
    text = wanted.table.text(spelling)
    credential = wanted.credentials[0]
    if text is None:
        return None
    if spelling.endswith("_file"):
        where = str(places.directory / Path(text).expanduser())
        return SecretSource(kind=SecretKind.FILE, where=where, credential=credential)
    if spelling.endswith("_credential"):
        return _credential(text, path, places, findings)
    if spelling.endswith("_env"):
        return _variable(text, path, credential, places, findings)
    if path in places.origins:
        where = places.origins[path]
        kind = SecretKind.ENVIRONMENT
    else:
        where, kind = spelling, SecretKind.INLINE
        if places.exposed_mode is not None:
            findings.warn(
                path,
                "exposed",
                f"stands in a file that others can read (mode {places.exposed_mode:04o}): "
                f"chmod 600 it, or move the secret to a file of its own with {wanted.key}_file",
            )
    return SecretSource(kind=kind, where=where, credential=credential, value=Secret(text))


def _credential(
    name: str, path: KeyPath, places: Places, findings: Findings
) -> SecretSource | None:
    directory = places.environ.get(DIRECTORY_VARIABLE)
    if directory is None:
        if places.check:
            file_key = str(path[-1]).removesuffix("_credential") + "_file"
            findings.error(
                path,
                "no_credentials",
                f'the credential "{name}" cannot be read, because systemd passed none: add '
                f"LoadCredential={name}:PATH to the unit, or use {file_key}",
            )
        directory = f"${DIRECTORY_VARIABLE}"
    where = str(Path(directory) / name)
    return SecretSource(kind=SecretKind.CREDENTIAL, where=where, credential=name)


def _variable(
    name: str, path: KeyPath, credential: str, places: Places, findings: Findings
) -> SecretSource | None:
    value = places.environ.get(name)
    if value:
        return SecretSource(
            kind=SecretKind.ENVIRONMENT, where=name, credential=credential, value=Secret(value)
        )
    if places.check:
        state = "is not set" if value is None else "is empty"
        findings.error(
            path,
            "no_variable",
            f"the environment variable {name} {state}: set it where edged is started",
        )
        return None
    return SecretSource(kind=SecretKind.ENVIRONMENT, where=name, credential=credential)


def _by_name(wanted: _Wanted, places: Places) -> SecretSource | None:
    directory = places.environ.get(DIRECTORY_VARIABLE)
    if directory is None:
        return None
    for name in wanted.credentials:
        path = Path(directory) / name
        if path.exists():
            return SecretSource(kind=SecretKind.CREDENTIAL, where=str(path), credential=name)
    return None


def _expected(wanted: _Wanted) -> SecretSource:
    """Return the credential that will be passed where the configuration is really used."""
    name = wanted.credentials[0]
    where = str(Path(f"${DIRECTORY_VARIABLE}") / name)
    return SecretSource(kind=SecretKind.CREDENTIAL, where=where, credential=name)


def _report_missing(wanted: _Wanted, places: Places, findings: Findings) -> None:
    key = wanted.key
    if not places.check:
        return
    findings.error(
        wanted.path,
        "no_secret",
        f"is missing: set one of {key}_file, {key}_env, {key}_credential or {key}, set the "
        f"variable {variable_name(wanted.path)}, or pass the systemd credential "
        f'"{wanted.credentials[0]}"',
    )


def _try(wanted: _Wanted, source: SecretSource, findings: Findings) -> None:
    """Read the secret once, and look whether it can be what it should be."""
    path = wanted.table.at(*wanted.spellings)
    if source.kind is SecretKind.CREDENTIAL and not Path(source.where).is_absolute():
        return  # reported already: there is no directory
    try:
        secret = source.read()
    except SecretError as error:
        findings.error(path, "secret_unreadable", str(error))
        return
    if wanted.key == "url" and not is_http_url(secret.reveal()):
        findings.error(
            path,
            "secret_no_url",
            "the text found there is not a URL: it has to begin with https:// or http://, "
            "on one line",
        )
