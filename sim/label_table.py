"""A table of labels as somebody wrote it: which column is what, and in which unit.

What the user does not say is guessed from names and values, and every guess is put into words.
"""

from __future__ import annotations

import csv
import datetime
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sim.conventions import MPS_PER_KMH, MPS_PER_MPH
from sim.errors import BadInputError, foreign_errors, one_line
from sim.reading import PICTURE_SUFFIXES, number, read_text
from sim.steering import LOCK_TOLERANCE, SteeringUnit

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
SPEEDS = {"mps": 1.0, "kmh": MPS_PER_KMH, "mph": MPS_PER_MPH}
SIDES = ("left", "right")
TABLE_SUFFIXES = (".csv", ".txt", ".tsv")


@dataclass(frozen=True)
class Columns:
    """What is said of a table of labels; None is guessed, and the guess is said.

    Attributes:
        table: its file; default: the one of the video's name, else the only one beside it.
        steering_column, time_column, frame_column, picture_column, speed_column: the column's name, or its number from
            1 where the table has no header.
        steering_unit: curvature_per_m, road_wheel_rad, road_wheel_deg, steering_wheel_rad, steering_wheel_deg or
            normalized (-1 to 1 of the full lock).
        positive: side to which positive steering turns, left or right.
        time_unit: s, ms, us or ns.
        speed_unit: mps, kmh or mph.
        start_s: time of the video's first frame on the table's clock; default: the table's first time.
    """

    table: str | None = None
    steering_column: str | None = None
    time_column: str | None = None
    frame_column: str | None = None
    picture_column: str | None = None
    speed_column: str | None = None
    steering_unit: str | None = None
    positive: str | None = None
    time_unit: str | None = None
    speed_unit: str | None = None
    start_s: float | None = None

    def __post_init__(self) -> None:
        known = {
            "steering_unit": tuple(SteeringUnit),
            "positive": SIDES,
            "time_unit": tuple(SECONDS),
            "speed_unit": tuple(SPEEDS),
        }
        for name, values in known.items():
            value = getattr(self, name)
            if value is not None and value not in values:
                raise BadInputError(f"{name}: expected one of {', '.join(values)}, got {one_line(repr(value))}")
        if self.start_s is not None and not math.isfinite(self.start_s):
            raise BadInputError(f"start_s: expected a number, got {self.start_s}")


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Rows of labels; a number that cannot be read is NaN.

    Attributes:
        steering: float64 (T,), in ``unit``; its sign as it is written.
        unit: of ``steering``.
        positive: the side that positive steering turns to, or None where nothing says it.
        times_s: float64 (T,), or None without such a column.
        frame: number of the video's frame, float64 (T,), or None.
        pictures: names of picture files, or None.
        speed_mps: float64 (T,), or None.
        said: what was guessed, in words.
    """

    steering: np.ndarray
    unit: SteeringUnit
    positive: str | None
    times_s: np.ndarray | None
    frame: np.ndarray | None
    pictures: list[str] | None
    speed_mps: np.ndarray | None
    said: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.steering)

    def sign(self, guessed: str | None = None) -> float:
        """What makes ``steering`` left positive."""
        return -1.0 if (self.positive or guessed) == "right" else 1.0


_NAMES: dict[str, tuple[str, ...]] = {
    "picture": (r"(center|image|picture|file|img|frame_?name|path)",),
    "frame": (r"(video_?)?frame(_?(id|index|number|no|num|k))?", r"i_frame", r"index", r"k"),
    "time": (r"(_?time(stamp)?|t|seconds|elapsed|clock|date_?time)([_ (]*(n?s|[mu]s|sec|seconds)\)?)?",),
    "steering": (r".*curvature.*", r".*kappa.*", r".*steer.*", r".*angle.*", r".*wheel.*", r"label|target|cmd|command"),
    "speed": (r".*speed.*", r".*velocity.*", r"v(_?mps)?"),
}


def read_labels(path: Path, columns: Columns) -> LabelTable:
    """Read a table; its rows need not have all their fields.

    Raises:
        BadInputError: no such table, no rows, or no column that could be the steering.
    """
    lines = _lines(path)
    header = lines[0] if _is_header(lines[0]) else []
    return labels_of(path, header, lines[1:] if header else lines, columns)


def labels_of(path: Path, header: Sequence[str], body: list[list[str]], columns: Columns) -> LabelTable:
    """The labels among texts (rows of columns) that came from ``path``; an empty header where columns have no names.

    Raises:
        BadInputError: no rows, or no column that could be the steering.
    """
    if not body:
        raise BadInputError(f"{path}: has a header but no rows")
    finder = _Finder(path, header, body)
    header = finder.header
    said = finder.said
    picture = finder.column("picture", columns.picture_column, _is_picture_name)
    is_time = _time if header else (lambda text: math.nan)
    time = finder.column("time", columns.time_column, lambda text: math.isfinite(is_time(text)))
    frame = finder.column("frame", columns.frame_column, lambda text: bool(re.fullmatch(r"\d{1,9}(\.0+)?", text)))
    speed = finder.column("speed", columns.speed_column, lambda text: math.isfinite(number(text)))
    steering = finder.column("steering", columns.steering_column, lambda text: math.isfinite(number(text)), needed=True)
    assert steering is not None
    values = np.array([number(text) for text in finder.texts(steering)])
    name = header[steering] if header else ""
    unit, unit_said = _unit(name, values, columns.steering_unit)
    said += unit_said
    times_s = None
    if time is not None:
        times_s, time_said = _seconds(finder.texts(time), header[time] if header else "", columns.time_unit)
        said += time_said
    speed_mps = None
    if speed is not None:
        factor, speed_said = _speed_unit(header[speed] if header else "", columns.speed_unit)
        speed_mps, said = factor * np.array([number(text) for text in finder.texts(speed)]), said + speed_said
    return LabelTable(
        values,
        unit,
        columns.positive,
        times_s,
        None if frame is None else np.array([number(text) for text in finder.texts(frame)]),
        None if picture is None else finder.texts(picture),
        speed_mps,
        said,
    )


def find_table(folder: Path, stem: str, columns: Columns) -> Path:
    """The table of a recording: the one that is named, of the video's name, or the only one in its folder.

    Raises:
        BadInputError: none, or several.
    """
    if columns.table is not None:
        for path in (Path(columns.table), folder / columns.table):
            if path.is_file():
                return path
        raise BadInputError(f"{columns.table}: no such table; give a CSV or text file")
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in TABLE_SUFFIXES and not p.name.startswith("."))
    named = [path for path in tables if path.stem == stem]
    if len(named or tables) == 1:
        return (named or tables)[0]
    found = ", ".join(path.name for path in tables[:4]) or "none"
    raise BadInputError(f"{folder}: expected one table of labels (CSV or text), found {found}; name it with --table")


def _lines(path: Path) -> list[list[str]]:
    """Fields of every line that has any."""
    text = read_text(path)
    rows = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not rows:
        raise BadInputError(f"{path}: is empty; expected a table with a row a frame or a time")
    counts = {mark: Counter(line.count(mark) for line in rows[:50]).most_common(1)[0][0] for mark in ";\t,"}
    mark = next((mark for mark in ";\t," if counts[mark] > 0), None)
    with foreign_errors(path, "expected a CSV file"):
        if mark is None or path.suffix.lower() == ".txt":
            lines = [re.split(r"[,;\s]+", line.strip()) for line in rows]
        else:
            lines = list(csv.reader(rows, delimiter=mark))
    return [[text.strip() for text in line] for line in lines]


def _is_header(line: Sequence[str]) -> bool:
    return not any(math.isfinite(_time(text)) or _is_picture_name(text) for text in line)


def _is_picture_name(text: str) -> bool:
    return text.lower().endswith(PICTURE_SUFFIXES)


def _time(text: str) -> float:
    """A number, or a date and time in ISO 8601, as seconds since 1970; NaN where it is neither."""
    value = number(text)
    if math.isnan(value) and len(text) >= 15:
        try:
            moment = datetime.datetime.fromisoformat(text)
            value = moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp()
        except (ValueError, OverflowError):
            return math.nan
    return value


class _Finder:
    """Gives each kind of column at most one place, and no place twice."""

    def __init__(self, path: Path, header: Sequence[str], body: list[list[str]]) -> None:
        self.path, self.names, self.body = path, header, body
        self.header = [name.lower() for name in header]
        self.n = len(header) or Counter(len(line) for line in body).most_common(1)[0][0]
        self.taken: set[int] = set()
        self.said: list[str] = []

    def texts(self, place: int) -> list[str]:
        return [line[place] if place < len(line) else "" for line in self.body]

    def column(self, kind: str, name: str | None, is_it: Callable[[str], bool], needed: bool = False) -> int | None:
        """The place of a kind of column: as named, else by the usual names, without a header by its values."""
        place = self._named(kind, name) if name is not None else self._usual(kind, is_it)
        if place is None and needed:
            have = ", ".join(self.names) or f"{self.n} columns without names"
            raise BadInputError(f"{self.path}: no column for {kind} ({one_line(have)}); name it with --{kind}-column")
        if place is not None:
            self.taken.add(place)
            if name is None and self.header and kind != "picture":
                self.said.append(f"{kind} is column {one_line(repr(self.names[place]), 40)}")
        return place

    def _named(self, kind: str, name: str) -> int:
        if name.lower() in self.header:
            return self.header.index(name.lower())
        if name.isdecimal() and len(name) < 6 and 1 <= int(name) <= self.n and not self.header:
            return int(name) - 1
        have = ", ".join(self.names) or f"1 to {self.n}"
        raise BadInputError(f"{self.path}: no {kind} column {one_line(repr(name), 40)}; it has {one_line(have)}")

    def _usual(self, kind: str, is_it: Callable[[str], bool]) -> int | None:
        free = [place for place in range(self.n) if place not in self.taken]
        if not self.header:
            if kind in ("time", "frame", "speed"):
                return self._first_of_two(kind, free)
            return next((place for place in free if self._fits(place, is_it)), None)
        for pattern in _NAMES[kind]:
            for place in free:
                if re.fullmatch(pattern, self.header[place]) and self._fits(place, is_it):
                    return place
        if kind == "picture":
            return next((place for place in free if self._fits(place, is_it)), None)
        return None

    def _first_of_two(self, kind: str, free: list[int]) -> int | None:
        """Without names: of two columns of numbers the first is the frame (whole, from 0 or 1) or the time."""
        numeric = [place for place in free if self._fits(place, lambda text: math.isfinite(number(text)))]
        if len(numeric) < 2 or kind == "speed" or numeric[0] in self.taken:
            return None
        values = np.array([number(text) for text in self.texts(numeric[0])])
        steps = np.diff(values[np.isfinite(values)])
        if not len(steps) or np.median(steps) <= 0:
            return None
        is_frame = bool(np.median(steps) == 1.0 and values[0] in (0.0, 1.0))
        return numeric[0] if is_frame == (kind == "frame") else None

    def _fits(self, place: int, is_it: Callable[[str], bool]) -> bool:
        """Do most of the first rows that have a value there have one of this kind?"""
        texts = [text for text in self.texts(place)[:200] if text]
        return bool(texts) and sum(map(is_it, texts)) > len(texts) / 2


def _unit(name: str, values: np.ndarray, given: str | None) -> tuple[SteeringUnit, list[str]]:
    if given is not None:
        return SteeringUnit(given), []
    largest = float(np.nanpercentile(np.abs(values), 99.5)) if np.isfinite(values).any() else 0.0
    is_degrees = "deg" in name or largest > 2 * math.pi * 1.6
    is_hand_wheel = "steering_wheel" in name or "steering wheel" in name or "handwheel" in name or "hand_wheel" in name
    if "curv" in name or "kappa" in name or name.endswith("per_m"):
        unit = SteeringUnit.CURVATURE
    elif "road_wheel" in name or "front_wheel" in name or "tire" in name or "tyre" in name:
        unit = SteeringUnit.ROAD_WHEEL_DEG if is_degrees else SteeringUnit.ROAD_WHEEL_RAD
    elif is_hand_wheel or is_degrees or "rad" in name or largest > 1.0 + LOCK_TOLERANCE:
        unit = SteeringUnit.STEERING_WHEEL_DEG if is_degrees else SteeringUnit.STEERING_WHEEL_RAD
    else:
        unit = SteeringUnit.NORMALIZED
    return unit, [f"steering is taken as {unit} (99.5 % are within {largest:.3g})"]


def _seconds(texts: list[str], name: str, given: str | None) -> tuple[np.ndarray, list[str]]:
    """Times in seconds, and what was guessed of their unit."""
    values = np.array([_time(text) for text in texts])
    if given is not None:
        return SECONDS[given] * values, []
    are_dates = any(math.isfinite(_time(text)) and math.isnan(number(text)) for text in texts[:20])
    ending = re.search(r"(ns|us|ms|s|sec|seconds)\)?$", name)
    steps = np.abs(np.diff(values[np.isfinite(values)]))
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    unit = "s" if step < 2 else "ms" if step < 2e3 else "us" if step < 2e6 else "ns"
    if are_dates:
        unit = "s"
    elif ending and re.search(r"[_ (](ns|us|ms|s|sec|seconds)\)?$", name):
        unit = ending[1] if ending[1] in SECONDS else "s"
    return SECONDS[unit] * values, [] if are_dates else [f"times are in {unit}"]


def _speed_unit(name: str, given: str | None) -> tuple[float, list[str]]:
    if given is not None:
        return SPEEDS[given], []
    flat = re.sub(r"[^a-z]", "", name)
    unit = "mph" if "mph" in flat else "kmh" if "kmh" in flat or "kph" in flat else "mps"
    return SPEEDS[unit], [f"speed is in {unit}"]
