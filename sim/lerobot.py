"""LeRobot's data sets, version 3: what a folder of them holds, and a drive written as one.

``meta/info.json``      version, frames a second, features (name, type, shape, names of elements), patterns of paths
``meta/episodes``       Parquet: a row an episode, with the video file and the time in it at which the episode begins
``meta/tasks.parquet``  what was to be done
``data``                Parquet: a row a frame
``videos/CAMERA``       MP4 with the frames of many episodes, one after another

Version 2 has one file an episode; ``sim.importers.lerobot`` reads both. Parquet is the optional extra ``lerobot``.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sim.drive import StoredDrive
from sim.drive_writer import FrameWriter, write_facts
from sim.errors import BadInputError
from sim.files import new_folder

VERSION = "v3.0"
CHUNK = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{CHUNK}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{CHUNK}.mp4"
EPISODES_PATH = f"meta/episodes/{CHUNK}.parquet"
CAMERA_KEY = "observation.images.front"
ACTION, SPEED, TIME = "action", "observation.state", "observation.time_s"
CURVATURE_NAME, SPEED_NAME = "curvature_per_m", "speed_mps"
TASK = "Keep the lane."
STATISTICS_EVERY = 10
"""One frame of so many counts for the statistics of the pictures."""


def parquet() -> ModuleType:
    """The module ``pyarrow.parquet``.

    Raises:
        BadInputError: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise BadInputError("LeRobot's format needs pyarrow: pip install 'liquid-lane[lerobot]'") from error
    return pyarrow.parquet


def write_lerobot(drive: StoredDrive, folder: Path) -> None:
    """Write a drive as a LeRobot data set of version 3, complete or not at all; each segment is an episode.

    The action is the curvature (1/m, left positive); the state is the speed where it is known. LeRobot's frames come at
    one fixed rate, so ``timestamp`` is the frame's number over it; the recorded times stand in ``observation.time_s``.
    Camera, car and source go along as ``meta/drive.json``.

    Args:
        drive: whose pictures are read one by one.
        folder: made anew.

    Raises:
        BadInputError: pyarrow is missing, something is in the way, or the drive is damaged.
    """
    parquet()
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInputError(f"{folder}: is there already; name a new folder to write to")
    rate_hz = max(round(1.0 / float(np.median(drive.dt_s()))), 1)
    segments = drive.segments()
    lengths = np.array([segment.stop - segment.start for segment in segments])
    episode = np.repeat(np.arange(len(segments)), lengths)
    in_episode = np.concatenate([np.arange(n) for n in lengths])
    columns: dict[str, np.ndarray] = {ACTION: drive.curvature_per_m}
    features: dict[str, Any] = {ACTION: _feature("float32", [CURVATURE_NAME])}
    if drive.speed_mps is not None:
        columns[SPEED], features[SPEED] = drive.speed_mps, _feature("float32", [SPEED_NAME])
    columns[TIME], features[TIME] = drive.timestamps_s, _feature("float64", ["time_s"])
    counted = {
        "timestamp": (in_episode / rate_hz).astype(np.float32),
        "frame_index": in_episode,
        "episode_index": episode,
        "index": np.arange(len(drive)),
        "task_index": np.zeros(len(drive), np.int64),
    }
    columns |= counted
    features |= {name: _feature(str(values.dtype), None) for name, values in counted.items()}
    with new_folder(folder) as unfinished:
        for name in (DATA_PATH, VIDEO_PATH, EPISODES_PATH):
            _first(unfinished, name).parent.mkdir(parents=True)
        statistics = _write_video(drive, _first(unfinished, VIDEO_PATH), rate_hz)
        _write_table(_first(unfinished, DATA_PATH), columns)
        _write_episodes(_first(unfinished, EPISODES_PATH), lengths, rate_hz)
        _write_tasks(unfinished / "meta" / "tasks.parquet")
        camera = drive.camera
        features[CAMERA_KEY] = {
            "dtype": "video",
            "shape": [camera.height_px, camera.width_px, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": camera.height_px,
                "video.width": camera.width_px,
                "video.codec": "h264",
                "video.pix_fmt": _pix_fmt(drive),
                "video.is_depth_map": False,
                "video.fps": rate_hz,
                "video.channels": 3,
                "has_audio": False,
            },
        }
        info = {
            "codebase_version": VERSION,
            "robot_type": drive.meta.vehicle.name,
            "total_episodes": len(segments),
            "total_frames": len(drive),
            "total_tasks": 1,
            "chunks_size": 1000,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": rate_hz,
            "splits": {"train": f"0:{len(segments)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH,
            "features": features,
        }
        _write_json(unfinished / "meta" / "info.json", info)
        numbers = {name: _statistics(values.reshape(-1, 1)) for name, values in columns.items()}
        _write_json(unfinished / "meta" / "stats.json", numbers | {CAMERA_KEY: statistics})
        write_facts(unfinished / "meta", drive.facts())


def _first(folder: Path, pattern: str) -> Path:
    return folder / pattern.format(chunk_index=0, file_index=0, video_key=CAMERA_KEY)


def _feature(dtype: str, names: list[str] | None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1], "names": names}


def _pix_fmt(drive: StoredDrive) -> str:
    is_even = drive.camera.height_px % 2 == drive.camera.width_px % 2 == 0
    return "yuv420p" if is_even else "yuv444p"


def _write_video(drive: StoredDrive, path: Path, rate_hz: int) -> dict[str, Any]:
    """All frames in one file; statistics of their channels (3, 1, 1) in [0, 1]."""
    seen = []
    with FrameWriter(path, drive.camera.height_px, drive.camera.width_px, rate_hz, _pix_fmt(drive)) as writer:
        for k, frame in enumerate(drive.read_frames()):
            writer.add(frame)
            if k % STATISTICS_EVERY == 0:
                pixels = frame.reshape(-1, 3) / 255.0
                seen.append((pixels.min(0), pixels.max(0), pixels.mean(0), (pixels**2).mean(0)))
    low, high, mean, square = (np.array(values) for values in zip(*seen, strict=True))
    spread = np.sqrt(np.maximum(square.mean(0) - mean.mean(0) ** 2, 0.0))
    values = {"min": low.min(0), "max": high.max(0), "mean": mean.mean(0), "std": spread}
    return {name: value.reshape(3, 1, 1).tolist() for name, value in values.items()} | {"count": [len(seen)]}


def _statistics(values: np.ndarray) -> dict[str, list[float]]:
    """Of values (T, n), as LeRobot keeps them."""
    found = {name: getattr(values, name)(axis=0).tolist() for name in ("min", "max", "mean", "std")}
    return found | {"count": [len(values)]}


def _write_table(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow

    parquet().write_table(pyarrow.table(columns), path)


def _write_episodes(path: Path, lengths: np.ndarray, rate_hz: int) -> None:
    ends = np.cumsum(lengths)
    starts, nothing = ends - lengths, np.zeros(len(lengths), np.int64)
    video = f"videos/{CAMERA_KEY}/"
    columns = {
        "episode_index": np.arange(len(lengths)),
        "tasks": [[TASK]] * len(lengths),
        "length": lengths,
        "data/chunk_index": nothing,
        "data/file_index": nothing,
        "dataset_from_index": starts,
        "dataset_to_index": ends,
        f"{video}chunk_index": nothing,
        f"{video}file_index": nothing,
        f"{video}from_timestamp": starts / rate_hz,
        f"{video}to_timestamp": ends / rate_hz,
        "meta/episodes/chunk_index": nothing,
        "meta/episodes/file_index": nothing,
    }
    _write_table(path, columns)


def _write_tasks(path: Path) -> None:
    """LeRobot reads this table by pandas, the task's words as the index: what pandas notes of that is written here."""
    import pyarrow

    index = "task"
    described = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_kind, "metadata": None}
            for name, kind, numpy_kind in (("task_index", "int64", "int64"), (index, "unicode", "object"))
        ],
    }
    table = pyarrow.table({"task_index": np.zeros(1, np.int64), index: [TASK]})
    parquet().write_table(table.replace_schema_metadata({"pandas": json.dumps(described)}), path)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=4) + "\n", encoding="utf-8")
