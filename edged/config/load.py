"""From a file and the environment to a configuration, or to everything that is wrong with it.

Owns the search for the file, the order of the checks, and the place in the file of each fault.
Every check runs over whatever parsed, so that one run shows all there is to repair.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edged.config.convert import convert
from edged.config.environment import (
    OTHER_VARIABLES,
    apply_overlay,
    pointed_to,
    read_environment,
)
from edged.config.errors import ENVIRONMENT, ConfigError, ConfigErrors
from edged.config.findings import Finding, Findings, KeyPath, Tree, View
from edged.config.layout import SECRET_KEYS, is_secret
from edged.config.lint import lint
from edged.config.loaded import Loaded
from edged.config.messages import bad_paths, dotted, validate
from edged.config.positions import Position, find_positions
from edged.config.renamed import RENAMED, Renames, apply_renames
from edged.config.secret import HIDDEN
from edged.config.sources import Places, find_secrets

SEARCH = (Path("edged.toml"), Path("/etc/edged/config.toml"))
"""Where to look when neither ``--config`` nor ``$EDGED_CONFIG`` says so."""

FILE_BYTES_MAX = 1024 * 1024
"""A thousand gateways fit several times over."""

_EXPOSED = 0o044


def load(
    path: Path | str | None,
    environ: Mapping[str, str],
    *,
    check_secrets: bool = True,
    renamed: Renames = RENAMED,
) -> Loaded:
    """Find, read and check the configuration.

    Args:
        path: What ``--config`` says; None to search.
        environ: The environment, for ``EDGED_…`` and what systemd passes.
        check_secrets: Whether a secret that cannot be read now is a fault. False checks the rest
            where the secrets are not at hand, as in CI.
        renamed: Old names that are still understood.

    Raises:
        ConfigErrors: With every fault that was found.
    """
    file = _find_file(path, environ)
    text = "" if file is None else _read(file)
    source = ENVIRONMENT if file is None else str(file)
    tree = _parse(text, source)
    overlay = read_environment(environ, pointed_to=frozenset(pointed_to(tree)))
    if file is None and not overlay.values and not overlay.findings:
        raise ConfigErrors([_no_file()])

    findings = Findings()
    apply_renames(tree, findings, renamed)
    findings.errors.extend(apply_overlay(tree, overlay))
    root = validate(tree, findings, by_variable=file is None)
    view = View(path=(), raw=tree, bad=frozenset(bad_paths(findings)))
    lint(view, findings)
    directory = Path.cwd() if file is None else file.absolute().parent
    places = Places(
        environ=environ,
        origins=overlay.origins,
        directory=directory,
        exposed_mode=None if file is None else _exposed_mode(file),
        check=check_secrets,
    )
    sources = find_secrets(view, places, findings)
    _fold_secrets(findings)

    positions = find_positions(text)
    locator = _Locator(
        file=source,
        lines=text.splitlines(),
        positions=positions,
        origins=overlay.origins,
        environ=environ,
    )
    errors = [locator.locate(finding) for finding in findings.errors]
    errors += [locator.in_variable(name, finding) for name, finding in overlay.findings]
    if errors:
        raise ConfigErrors(errors)
    assert root is not None, "the models refused and nobody said why"
    return Loaded(
        config=convert(root, sources, environ, directory),
        source=source,
        warnings=tuple(locator.locate(finding) for finding in findings.warnings),
        origins=_origins(tree, positions, overlay.origins, source),
    )


def _fold_secrets(findings: Findings) -> None:
    """Say once, not twice, that ``pasword`` is no key and that the password is missing."""
    meant = {
        (*one.path[:-1], key)
        for one in findings.errors
        if one.hint is not None
        for key in SECRET_KEYS
        if one.hint == key or one.hint.startswith(f"{key}_")
    }
    findings.errors = [
        one for one in findings.errors if one.code != "no_secret" or one.path not in meant
    ]


# --- the file -----------------------------------------------------------------------------------


def _find_file(path: Path | str | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return Path(path)
    (variable,) = OTHER_VARIABLES
    if environ.get(variable):
        return Path(environ[variable])
    return next((candidate for candidate in SEARCH if candidate.exists()), None)


def _no_file() -> ConfigError:
    searched = " and ".join(str(candidate) for candidate in SEARCH)
    return ConfigError(
        file="configuration",
        line=0,
        col=0,
        key="",
        code="no_file",
        message=f"there is none: looked for {searched}; `edged init` writes one, "
        "--config or EDGED_CONFIG names one elsewhere",
    )


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        message = "does not exist: check the path, or let `edged init` write one"
    except PermissionError:
        message = (
            f"cannot be read by this user (uid {os.geteuid()}): "
            "give it to the group of the service, with mode 0640"
        )
    except OSError as error:
        message = f"cannot be read ({(error.strerror or 'no reason given').lower()})"
    else:
        if len(data) > FILE_BYTES_MAX:
            message = f"is larger than {FILE_BYTES_MAX // 1024} KiB: check the path"
        else:
            try:
                # TOML ends its lines with \n or \r\n; an editor's byte-order mark is harmless.
                return data.decode("utf-8-sig").replace("\r\n", "\n")
            except UnicodeDecodeError as error:
                line = data.count(b"\n", 0, error.start) + 1
                message = f"is not UTF-8 in line {line}: save it as UTF-8"
    raise ConfigErrors(
        [ConfigError(file=str(file), line=0, col=0, key="", code="unreadable", message=message)]
    )


def _exposed_mode(file: Path) -> int | None:
    try:
        mode = file.stat().st_mode & 0o777
    except OSError:
        return None
    return mode if mode & _EXPOSED else None


# --- syntax -------------------------------------------------------------------------------------


def _parse(text: str, source: str) -> Tree:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigErrors([_syntax_error(str(error), text, source)]) from None
    except (RecursionError, ValueError):
        # tomllib lets Python's own limits through: nesting, and digits of a number.
        message = "holds a number or a nest of lists beyond all reason: look for a stray character"
        raise ConfigErrors(
            [ConfigError(file=source, line=0, col=0, key="", code="syntax", message=message)]
        ) from None


def _syntax_error(words: str, text: str, source: str) -> ConfigError:
    lines = text.splitlines() or [""]
    match = re.search(r" \(at line (\d+), column (\d+)\)$", words)
    line, col = (int(match[1]), int(match[2])) if match else (len(lines), len(lines[-1]) + 1)
    reason = re.sub(r" \(at .*\)$", "", words)
    source_line = lines[line - 1] if line <= len(lines) else ""
    return ConfigError(
        file=source,
        line=line,
        col=col,
        key="",
        code="syntax",
        message=_syntax_message(reason, source_line),
        source_line=_hide_loosely(source_line),
    )


def _syntax_message(reason: str, line: str) -> str:
    twice = re.match(r"Cannot declare \((.*?),?\) twice", reason)
    if twice is not None:
        words = ".".join(re.findall(r"'([^']*)'", twice[1]))
        if words.startswith("vip."):
            return f"a second [{words}] needs a [[vip]] of its own above it"
        return f"[{words}] stands there twice: put its keys into one, or write [[{words}]]"
    if reason == "Cannot overwrite a value":
        return "this key is set twice: keep one of the two"
    bare = re.match(r"\s*([\w.-]+)\s*=\s*([^\s\"'\[{#][^#\"']*?)\s*(#.*)?$", line)
    if bare is not None and not re.search(_LOOSE, bare[1], re.IGNORECASE):
        return f'this is not TOML: text needs quotes, so write {bare[1]} = "{bare[2]}"'
    if bare is not None:
        return f'this is not TOML: text needs quotes, so write {bare[1]} = "…"'
    return f"this is not TOML ({reason[:1].lower()}{reason[1:]})"


# --- places -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Locator:
    """Finds the line of a path, and hides what must not be shown there."""

    file: str
    lines: list[str]
    positions: Mapping[KeyPath, Position]
    origins: Mapping[KeyPath, str]
    environ: Mapping[str, str]

    def locate(self, finding: Finding) -> ConfigError:
        """Give a finding its place."""
        for length in range(len(finding.path), 0, -1):
            path = finding.path[:length]
            if path in self.origins:
                return self.in_variable(self.origins[path], finding)
            plain = tuple(part for part in path if isinstance(part, str))
            position = self.positions.get(path) or self.positions.get(plain)
            if position is not None:
                return self._in_file(position, finding)
        if self.file == ENVIRONMENT:
            return self._error(finding, file=ENVIRONMENT)
        return self._error(finding, file=self.file, line=1, col=1)

    def in_variable(self, name: str, finding: Finding) -> ConfigError:
        """Give a finding about a variable its place."""
        known = name in self.origins.values()
        shown = self.environ[name] if known and not is_secret(finding.path) else HIDDEN
        return self._error(
            finding,
            file=ENVIRONMENT,
            key=dotted(finding.path) or name,
            source_line=_hide_userinfo(f"{name}={shown}"),
        )

    def _in_file(self, position: Position, finding: Finding) -> ConfigError:
        line = self.lines[position.line - 1] if position.line <= len(self.lines) else ""
        hide = _hide_loosely if finding.code == "unknown_key" else _hide
        if finding.hint in SECRET_KEYS:
            line = re.sub(r"=.*", f"= {HIDDEN}", line)
        return self._error(
            finding,
            file=self.file,
            line=position.line,
            col=position.col,
            source_line=hide(line),
        )

    def _error(
        self,
        finding: Finding,
        *,
        file: str,
        line: int = 0,
        col: int = 0,
        key: str | None = None,
        source_line: str | None = None,
    ) -> ConfigError:
        return ConfigError(
            file=file,
            line=line,
            col=col,
            key=dotted(finding.path) if key is None else key,
            code=finding.code,
            message=_hide_userinfo(finding.message),
            hint=finding.hint,
            source_line=source_line,
        )


_SECRET_NAMES = "|".join(SECRET_KEYS)
_EXACT = rf"(?<![\w-])[\"']?({_SECRET_NAMES})(_env|_credential)?[\"']?\s*="
_LOOSE = r"(pas|pw|token|secret|key|url|hook)"


def _hide(line: str) -> str:
    """Cut a line after the first key whose value is a secret."""
    match = re.search(_EXACT, line)
    return _hide_userinfo(f"{line[: match.end()]} {HIDDEN}" if match else line)


def hide_secrets(line: str) -> str:
    """Return one line of a configuration without what is, or looks like, a secret."""
    return _hide_loosely(_hide(line))


def _hide_loosely(line: str) -> str:
    """The same where the key may be misspelt: whatever looks like a secret goes."""
    match = re.search(rf"[\w\"'-]*{_LOOSE}[\w\"'-]*\s*=", line, re.IGNORECASE)
    cut = f"{line[: match.end()]} {HIDDEN}" if match else line
    return _hide_userinfo(re.sub(r"(https?://[^/\s\"']+)/[^\s\"']+", rf"\1/{HIDDEN}", cut))


def _hide_userinfo(text: str) -> str:
    return re.sub(r"//[^/@\s\"']+@", f"//{HIDDEN}@", text)


def _origins(
    tree: Tree,
    positions: Mapping[KeyPath, Position],
    variables: Mapping[KeyPath, str],
    source: str,
) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in _leaves(tree, ()):
        if path in variables:
            found[dotted(path)] = variables[path]
        elif path in positions:
            found[dotted(path)] = f"{source}:{positions[path].line}"
    return found


def _leaves(value: object, path: KeyPath) -> Iterable[KeyPath]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path
