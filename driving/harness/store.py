"""Where the rows of a sweep are kept: one SQLite file, safe to kill at any moment; a CSV file is written from it."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from sim.errors import BadInputError
from sim.files import make_folder, new_file

STORE_NAME, CSV_NAME = "episodes.sqlite", "episodes.csv"
STORE_VERSION = 2


@dataclass(frozen=True, order=True)
class Key:
    """What an episode was: two rows with the same key would be the same.

    Attributes:
        policy, digest: its name, and of its weights and settings.
        program: digest of the code that decides the result.
        env, env_options: the world, and its options as JSON.
        noise, severity: name and number; "none" and 0 for the clean picture.
        seed, seconds: of the episode.
    """

    policy: str
    digest: str
    program: str
    env: str
    env_options: str
    noise: str
    severity: float
    seed: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """What became of it.

    Attributes:
        crashed: the car left its lane.
        distance_m, driven_s: until the end.
        mean_abs_offset_m: off the middle of the lane.
        rms_lateral_acceleration_mps2, rms_lateral_jerk_mps3: comfort, in the terms of ISO 2631 and ISO 22179.
        rms_command_rate_per_m_s: change of the command, 1/m a second.
        truncation: why the episode ended early without a crash.
        setting: what the world drew, as JSON.
        error: why there is no result.
        recovery_s: mean time until the command has recovered from a burst in the state (``harness.recovery``).
    """

    crashed: int
    distance_m: float
    driven_s: float
    mean_abs_offset_m: float
    rms_lateral_acceleration_mps2: float | None
    rms_lateral_jerk_mps3: float | None
    rms_command_rate_per_m_s: float | None
    truncation: str | None
    setting: str
    error: str | None = None
    recovery_s: float | None = None


_KINDS = {"str": "TEXT", "int": "INTEGER", "float": "REAL"}
_KEYS = [field.name for field in fields(Key)]
_VALUES = [field.name for field in fields(Row)]
COLUMNS = (*_KEYS, *_VALUES)


class EpisodeStore:
    """Rows by key, in a folder. Every ``add`` is one transaction: after a crash of the machine it is there or not.

    Raises:
        BadInputError: the file is no store, one of another version, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / STORE_NAME
        try:
            make_folder(folder)
            self._db = sqlite3.connect(path, timeout=30.0)
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            is_new = version == 0 and not self._db.execute("SELECT 1 FROM sqlite_master").fetchone()
            if is_new:
                self._make()
        except (OSError, sqlite3.Error) as error:
            raise BadInputError(
                f"{path}: expected a store of episodes, got {_short(error)}; name another --out"
            ) from None
        if not is_new and version != STORE_VERSION:
            self._db.close()
            raise BadInputError(
                f"{path}: expected version {STORE_VERSION} of a store, got {version}; name another --out"
            )

    def _make(self) -> None:
        columns = []
        for field in (*fields(Key), *fields(Row)):
            kind, _, rest = str(field.type).partition(" | ")
            columns.append(f"{field.name} {_KINDS[kind]}{'' if rest else ' NOT NULL'}")
        with self._db:
            self._db.execute(f"CREATE TABLE episodes ({', '.join(columns)}, PRIMARY KEY ({', '.join(_KEYS)}))")
            self._db.execute(f"PRAGMA user_version = {STORE_VERSION}")

    def add(self, rows: Iterable[tuple[Key, Row]]) -> None:
        """Keep rows, all or none; one that is there already stays as it is."""
        marks = ", ".join("?" * len(COLUMNS))
        try:
            with self._db:
                self._db.executemany(
                    f"INSERT OR IGNORE INTO episodes VALUES ({marks})",
                    [(*astuple(key), *astuple(row)) for key, row in rows],
                )
        except sqlite3.Error as error:
            raise BadInputError(
                f"{self.folder / STORE_NAME}: cannot be written ({_short(error)}); free space and go on with the same "
                "command"
            ) from None

    def keys(self) -> set[Key]:
        """Of all rows."""
        return {Key(*values) for values in self._select(", ".join(_KEYS))}

    def rows(self, keys: Iterable[Key]) -> dict[Key, Row]:
        """Of those keys that are there, in the order of the keys."""
        n = len(_KEYS)
        known = {Key(*values[:n]): Row(*values[n:]) for values in self._select("*")}
        return {key: known[key] for key in keys if key in known}

    def _select(self, what: str) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(f"SELECT {what} FROM episodes")
        except sqlite3.Error as error:
            raise BadInputError(
                f"{self.folder / STORE_NAME}: cannot be read ({_short(error)}); name another --out"
            ) from None

    def write_csv(self, keys: Iterable[Key]) -> None:
        """``episodes.csv``: the rows of these keys, in their order."""
        with new_file(self.folder / CSV_NAME) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows((*astuple(key), *astuple(row)) for key, row in self.rows(keys).items())

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _short(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).partition("\n")[0]


def options_text(options: Mapping[str, Any]) -> str:
    """A world's options as JSON, the same for the same ones."""
    return json.dumps(dict(options), sort_keys=True)
