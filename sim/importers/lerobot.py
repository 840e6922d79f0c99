"""LeRobot: a data set of version 3 or 2 with a camera's video and a feature that is the steering.

Features and their elements are taken as the columns of a table, ``action.steering`` and the like, and found, named and
converted as those of a table of labels (``--steering-column``, ``--speed-column``, ``--steering-unit``,
``--positive``); the camera is the only one, the one in whose name is "front", or
``--picture-column``. Each episode is a piece.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sim.drive import DriveMeta, read_facts
from sim.drive_writer import FACTS
from sim.errors import BadInputError, foreign_errors, one_line
from sim.importers.flow_sign import guess_positive
from sim.importers.still_frames import find_folder
from sim.importers.video import ABOVE_HORIZON, CAMERA, VEHICLE, relevant, sentence, with_rig_file
from sim.importers.video_frames import Place, shown_at, video_frames
from sim.importers.view import view
from sim.label_table import labels_of
from sim.lerobot import TIME, parquet
from sim.reading import read_json
from sim.recording import PIECE_GAP_S, Asked, Recording, Rows
from sim.steering import curvature, needed
from sim.video_file import VideoFile, open_video

INFO = "meta/info.json"
MAX_ELEMENTS = 64
"""Features with more are no command or state of a car."""
MAX_ROWS = 50_000_000
MAX_TABLE_BYTES = 1 << 31
MAX_PATTERN = 300
LOOKED_FOR = "meta/info.json, data and videos of a LeRobot data set"


def read(src: Path, asked: Asked) -> Recording:
    """All episodes in order.

    Raises:
        BadInputError: no such data set, no camera or steering that can be told, no usable row, or pyarrow is missing.
    """
    src = find_folder(src, lambda folder: (folder / INFO).is_file(), LOOKED_FOR)
    asked = with_rig_file(asked, src)
    info = _info(src / INFO)
    key = _camera_key(src, info["features"], asked.columns.picture_column)
    columns = dataclasses.replace(asked.columns, picture_column=None)
    names = [name for name, feature in info["features"].items() if _n_elements(feature)]
    table = _read(sorted((src / "data").glob("*/*.parquet")), src / "data", ["episode_index", "frame_index", *names])
    order = np.lexsort((table["frame_index"], table["episode_index"]))
    header, values = _columns(info["features"], table, order)
    if columns.time_column is None:
        columns = dataclasses.replace(columns, time_column=TIME if TIME in header else "timestamp", time_unit="s")
    body = [[repr(float(value)) for value in row] for row in values]
    labels = labels_of(src / "data", header, body, columns)
    known = None
    if (src / "meta" / FACTS).is_file():
        known = read_facts(src / "meta" / FACTS)[2:]
    vehicle = asked.rig.vehicle(known[1].vehicle if known else VEHICLE)
    needed(labels.unit, vehicle)
    episode = table["episode_index"][order].astype(int)
    in_file_s = values[:, header.index("timestamp")]
    places, missing = _places(src, info, key, episode, in_file_s)
    said, positive = list(labels.said), labels.positive
    if positive is None and known is not None:
        positive = "left"
    if positive is None:
        shown = [(k, place) for k, place in enumerate(places) if place is not None]
        pictures = ((shown[i][0], picture) for i, picture in shown_at([place for _, place in shown]))
        positive, sign_said = guess_positive(pictures, labels.steering, labels.unit)
        said.append(sign_said)
    rows, sign = Rows(missing), labels.sign(positive)
    times_s = _one_after_another(labels.times_s, episode, float(info["fps"]))
    for k, place in enumerate(places):
        if place is not None:
            speed = math.nan if labels.speed_mps is None else labels.speed_mps[k]
            rows.add(times_s[k], curvature(sign * labels.steering[k], labels.unit, vehicle), place, speed)
    rows.require(src, LOOKED_FOR)
    found: list[Place] = rows.pictures  # type: ignore[assignment]
    guess, above = CAMERA, ABOVE_HORIZON
    if known is not None:
        guess, above = known[0], (known[0].horizon_v_px + 0.5) / known[0].height_px
    cutout, notes = view(
        asked, guess, relevant(vehicle, labels.unit), found[0][0].size(), above,
        lambda: shown_at(found), np.array(rows.curvature_per_m),
    )  # fmt: skip
    notes.append(sentence([f"the camera is {one_line(key, 60)}", *said]))
    source, licence = (known[1].source, known[1].licence) if known else (f"LeRobot data set {src.name}", "none stated")
    meta = DriveMeta(source, licence, vehicle, " ".join(notes).strip())
    return rows.recording(src, cutout, meta, video_frames(cutout), False, LOOKED_FOR)  # type: ignore[arg-type]


def _info(path: Path) -> dict[str, Any]:
    """The description of a data set; what is used of it is there and of its kind."""
    info = read_json(path, "copy the data set again")
    kinds: dict[str, Any] = {"features": dict, "fps": (int, float), "codebase_version": str, "video_path": str}
    for name, kind in kinds.items():
        if not isinstance(info, dict) or not isinstance(info.get(name), kind):
            raise BadInputError(f"{path}: expected {name!r}, as LeRobot's data sets have it; copy the data set again")
    if not info["codebase_version"].startswith(("v2.", "v3.")):
        got = one_line(info["codebase_version"], 20)
        raise BadInputError(f"{path}: expected codebase_version v2 or v3, got {got}; convert it with LeRobot")
    if not 0 < info["fps"] <= 1000:
        raise BadInputError(f"{path}: expected fps up to 1000, got {one_line(info['fps'])}")
    info["features"] = {name: feature for name, feature in info["features"].items() if isinstance(feature, dict)}
    return info


def _camera_key(src: Path, features: dict[str, Any], asked: str | None) -> str:
    """The feature whose video is taken."""
    videos = [name for name, feature in features.items() if feature.get("dtype") == "video"]
    if asked is not None:
        if asked not in videos:
            raise BadInputError(f"{src}: no camera {one_line(repr(asked), 60)}; it has {one_line(', '.join(videos))}")
        return asked
    likely = videos if len(videos) == 1 else [name for name in videos if "front" in name.lower()]
    if len(likely) != 1:
        have = one_line(", ".join(videos)) or "none; pictures within Parquet files are not read"
        raise BadInputError(f"{src}: expected one camera's video, it has {have}; name one with --picture-column")
    return likely[0]


def _n_elements(feature: dict[str, Any]) -> int:
    """How many numbers a frame has of a feature; 0 where it is no row of numbers."""
    shape, dtype = feature.get("shape"), str(feature.get("dtype"))
    is_row = isinstance(shape, list) and len(shape) == 1 and type(shape[0]) is int and 1 <= shape[0] <= MAX_ELEMENTS
    return shape[0] if is_row and dtype.startswith(("float", "int")) else 0  # type: ignore[index]


def _element_names(name: str, feature: dict[str, Any]) -> list[str]:
    """``FEATURE.ELEMENT``, by the data set's names, else by number; ``FEATURE`` where a lone number has no name."""
    n, names = _n_elements(feature), feature.get("names")
    if isinstance(names, dict):
        inner = next((value for value in names.values() if isinstance(value, list)), list(names))
        names = inner
    if not isinstance(names, list) or len(names) != n:
        return [name] if n == 1 else [f"{name}.{k}" for k in range(n)]
    return [f"{name}.{one_line(text, 60)}" for text in names]


def _columns(features: dict[str, Any], table: dict[str, np.ndarray], order: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names and float64 (T, n) of all numbers, those of actions first; counters that are none of the car's are left."""
    header: list[str] = []
    values: list[np.ndarray] = []
    for name in sorted(features, key=lambda name: not name.startswith("action")):
        if name in table and name not in ("episode_index", "frame_index", "index", "task_index"):
            names = _element_names(name, features[name])
            if table[name].shape[1:] not in ((), (len(names),)) or (table[name].ndim == 1 and len(names) != 1):
                raise BadInputError(f"{name}: its rows do not have the {len(names)} numbers that {INFO} says")
            header += [TIME if name == TIME else text for text in names]
            values += list(table[name].reshape(len(order), -1)[order].T)
    return header, np.stack(values, axis=1)


def _read(paths: Sequence[Path], place: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of Parquet files, one after another: float64 (T,) or (T, n).

    Raises:
        BadInputError: no file, a column that is not there or not of numbers, or sizes beyond any drive's.
    """
    pq = parquet()
    if not paths:
        raise BadInputError(f"{place}: holds no Parquet files; looked for {LOOKED_FOR}")
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    n_rows = 0
    for path in paths:
        with foreign_errors(path, "expected a Parquet file; copy the data set again"):
            file = pq.ParquetFile(path)
            sizes = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
            n_rows += file.metadata.num_rows
            if n_rows > MAX_ROWS or sum(sizes) > MAX_TABLE_BYTES:
                raise ValueError(f"{n_rows} rows and {sum(sizes)} bytes are beyond any drive's")
            got = file.read(columns=list(names))
            for name in parts:
                column = got.column(name).combine_chunks()
                is_list = str(column.type).startswith(("list", "fixed_size_list", "large_list"))
                flat = column.flatten() if is_list else column
                values = flat.to_numpy(zero_copy_only=False).astype(np.float64)
                n = len(column)
                if len(values) % max(n, 1):
                    raise ValueError(f"the rows of {name} differ in length")
                parts[name].append(values.reshape(n, -1) if len(values) != n else values)
    with foreign_errors(place, "copy the data set again"):
        return {name: np.concatenate(values) for name, values in parts.items()}


def _places(
    src: Path, info: dict[str, Any], key: str, episode: np.ndarray, in_episode_s: np.ndarray
) -> tuple[list[Place | None], Any]:
    """Video and frame of every row, None where there is none, and how many of those by reason."""
    rows = Rows()
    places: list[Place | None] = [None] * len(episode)
    starts = _starts(src, info, key)
    videos: dict[Path, VideoFile | str] = {}
    half_s = 0.5 / float(info["fps"])
    for number in np.unique(episode):
        its = np.flatnonzero(episode == number)
        if int(number) not in starts:
            rows.left_out["episode without a video"] += len(its)
            continue
        path, start_s = starts[int(number)]
        if path not in videos:
            try:
                videos[path] = open_video(path)
            except BadInputError as error:
                videos[path] = "video missing" if "no such" in str(error) else "video damaged"
        video = videos[path]
        if isinstance(video, str):
            rows.left_out[video] += len(its)
            continue
        wanted_s = in_episode_s[its] + start_s
        frame = np.clip(np.searchsorted(video.times_s, wanted_s - half_s), 0, len(video) - 1)
        is_there = np.abs(video.times_s[frame] - wanted_s) <= half_s
        rows.left_out["row beyond the video's end"] += int((~is_there).sum())
        for row, k, good in zip(its, frame, is_there, strict=True):
            places[int(row)] = (video, int(k)) if good else None
    return places, rows.left_out


def _starts(src: Path, info: dict[str, Any], key: str) -> dict[int, tuple[Path, float]]:
    """Of every episode the video file that has it, and the time in it at which it begins."""
    if info["codebase_version"].startswith("v2."):
        size = info.get("chunks_size")
        n, chunk = info.get("total_episodes"), size if type(size) is int and size > 0 else 1000
        if type(n) is not int or not 0 < n <= MAX_ROWS:
            raise BadInputError(f"{src / INFO}: expected total_episodes, got {one_line(repr(n))}")
        return {
            k: (_video_path(src, info, video_key=key, episode_chunk=k // chunk, episode_index=k), 0.0) for k in range(n)
        }
    names = [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    episodes = _read(
        sorted((src / "meta/episodes").glob("*/*.parquet")), src / "meta/episodes", ["episode_index", *names]
    )
    columns = (episodes[name] for name in ("episode_index", *names))
    return {
        int(k): (_video_path(src, info, video_key=key, chunk_index=int(chunk), file_index=int(file)), float(start_s))
        for k, chunk, file, start_s in zip(*columns, strict=True)
        if np.isfinite([k, chunk, file, start_s]).all()
    }


def _video_path(src: Path, info: dict[str, Any], **values: Any) -> Path:
    """A path by the data set's pattern; never one outside the data set."""
    pattern = info["video_path"]
    plain = re.sub(r"\{[a-z_]{1,40}(:0\dd)?\}", "", pattern)
    if len(pattern) > MAX_PATTERN or "{" in plain or "}" in plain or ".." in pattern or Path(pattern).is_absolute():
        got = one_line(repr(pattern), 60)
        raise BadInputError(f"{src / INFO}: video_path: expected a pattern of paths in the data set, got {got}")
    with foreign_errors(src / INFO, "copy the data set again"):
        return src / pattern.format(**values)


def _one_after_another(times_s: np.ndarray | None, episode: np.ndarray, rate_hz: float) -> np.ndarray:
    """Times (T,) that rise over all episodes: as they are where they do, else each episode after the one before."""
    assert times_s is not None  # the column is named
    is_next = np.diff(episode) != 0
    steps = np.diff(times_s)
    if not (steps[is_next] <= 0).any():
        return times_s
    moved = np.where(is_next, PIECE_GAP_S - steps, 0.0)
    return times_s + np.concatenate([[0.0], np.cumsum(moved)])[: len(times_s)]
