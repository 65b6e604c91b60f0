"""Where the options of a command come from when they are not typed: the project file and the user file.

The order is flag, environment (``HPC_TREX_*``), project file (``hpc-trex.toml``, the nearest one upwards), user file
(``$XDG_CONFIG_HOME/hpc-trex/config.toml``). This module reads and checks the two files; click does the rest through
its ``default_map`` (docs/configuration.md). It imports no pydantic: ``--help`` must stay quick.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.layout import NO_KNOWLEDGE
from hpc_trex.suggest import did_you_mean

PROJECT_FILE = "hpc-trex.toml"

#: Keys that stand at the top of a file, outside any command's table. The first are paths; ``knowledge`` may also be ``off``.
FOLDERS = ("site", "home", "cache", "knowledge")
TOP_KEYS = (*FOLDERS, "color")


class Settings(NamedTuple):
    """The merged files. ``values`` holds tables by command name, with option names in snake case."""

    values: dict[str, Any]
    origins: dict[tuple[str, ...], Path]
    """The file that a value came from, by its path of keys."""
    project: Path | None
    """The folder of the project file."""

    def origin(self, *keys: str) -> Path | None:
        """Return the file that set a key, or None."""
        return self.origins.get(keys)


def user_file() -> Path:
    """Return where the user file is looked for; it need not exist."""
    root = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(root) / "hpc-trex" / "config.toml"


def project_file(start: Path) -> Path | None:
    """Return the nearest ``hpc-trex.toml`` in ``start`` or a folder above it."""
    for folder in (start, *start.parents):
        path = folder / PROJECT_FILE
        if path.is_file():
            return path
    return None


def load_settings(start: Path) -> Settings:
    """Read the user file and then the project file over it.

    Raises :class:`UsageProblem` for a file that is no TOML or cannot be read.
    """
    values: dict[str, Any] = {}
    origins: dict[tuple[str, ...], Path] = {}
    project = project_file(start)
    for path in (user_file(), project):
        if path is not None and path.is_file():
            _merge(values, _spread(_read(path)), path, origins, ())
    return Settings(values, origins, project.parent if project else None)


def check_keys(
    found: Iterable[str], known: Collection[str], *, where: str, settings: Settings, path: tuple[str, ...]
) -> None:
    """Refuse the first key that is not known, naming its file and the nearest known key."""
    for key in found:
        if key not in known:
            file = settings.origin(*path, key)
            raise UsageProblem(
                f"{file}: unknown key {key!r} in {where}{did_you_mean(key, known)}",
                hint=f"known keys: {', '.join(sorted(known))}",
            )


def _spread(table: dict[str, Any]) -> dict[str, Any]:
    """Return a file's tables with ``[llm]`` put where its options are: in ``[launch]``, as ``llm_model`` and so on."""
    given = table.get("llm")
    if not isinstance(given, dict):
        return table
    rest = {key: value for key, value in table.items() if key != "llm"}
    launch = rest.get("launch", {})
    return rest | {"launch": {**_flat("llm", given), **launch} if isinstance(launch, dict) else launch}


def _flat(name: str, table: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a table and of those in it, by their names in a row: ``llm_reviewer_model``."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        below = f"{name}_{key.replace('-', '_')}"
        found |= _flat(below, value) if isinstance(value, dict) else {below: value}
    return found


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(
            f"{path}: not valid TOML: {error}", hint="docs/configuration.md shows a valid file"
        ) from error
    except OSError as error:
        raise UsageProblem(f"{path}: cannot be read: {error.strerror}") from error


def _merge(
    into: dict[str, Any], table: dict[str, Any], file: Path, origins: dict[tuple[str, ...], Path], at: tuple[str, ...]
) -> None:
    """Put ``table`` over ``into``: tables key by key, everything else whole."""
    for raw, value in table.items():
        key = raw.replace("-", "_") if at or raw in TOP_KEYS else raw
        old = into.get(key)
        origins[(*at, key)] = file
        if isinstance(value, dict):
            _merge(
                into.setdefault(key, {}) if isinstance(old, dict) else _fresh(into, key),
                value,
                file,
                origins,
                (*at, key),
            )
        else:
            into[key] = _place(key, value, file, at)


def _fresh(into: dict[str, Any], key: str) -> dict[str, Any]:
    into[key] = {}
    return into[key]  # type: ignore[no-any-return]


def _place(key: str, value: object, file: Path, at: tuple[str, ...]) -> object:
    """Count paths from the folder of the file: the paths at the top, and in tables what begins with ``./`` or ``../``."""
    if not isinstance(value, str):
        return value
    if not at and key == "knowledge" and value == NO_KNOWLEDGE:
        return value
    if (not at and key in FOLDERS) or value.startswith(("./", "../")):
        return str((file.parent / Path(value).expanduser()).resolve())
    return value
