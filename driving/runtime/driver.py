"""Frame in, path curvature out: an exported policy, driven by a camera that may fail."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

EXPORT_FORMAT = "1"
"""Version of inputs, outputs and metadata of an exported policy that this file understands."""
MODEL_FILE = "policy.onnx"

MIN_DT_S, MAX_DT_S = 0.005, 0.5
"""The time step given to the network lies in here (200 to 2 frames a second)."""
HOLD_S, RELEASE_S = 0.3, 0.5
"""Without a usable frame the last command is held this long, then goes to straight in this time."""
MIN_CONTRAST = 8
"""A frame whose grey levels (0 to 255) span less shows nothing: a covered lens or a dead camera."""
MAX_ASPECT_ERROR = 0.02
"""A frame is cut to the policy's shape only if its own differs by more than this share."""
LATENCY_STEPS = 1000


class Latency(NamedTuple):
    """Time of ``Driver.step`` over its last ``n`` steps with a usable frame, in ms; not a number while n is 0."""

    n: int
    median_ms: float
    p99_ms: float


class Driver:
    """A policy as ``liquid-lane export`` writes it; ``step`` takes a frame and gives a curvature.

    **Frames** are uint8 RGB (H, W, 3). A frame of another size is cut, then resized (area mean when it shrinks,
    linear when it grows). The cut keeps the policy's shape (200:78): of a taller frame all columns, and rows such
    that the camera's horizon lands where the policy's lies; of a wider frame all rows and the middle columns.

    **Time.** The network is told the true time since the last usable frame, clamped to ``MIN_DT_S`` ..
    ``MAX_DT_S``. Tell it with every call: ``time_s`` (of the frame, any origin) or ``dt_s`` (since the last call);
    with neither, the clock of this call counts. A time that stands still, runs backwards or is no number counts
    as the usual step of the policy, as does the first.

    **A frame that is missing (None) or unusable** (no uint8 (H, W, 3) array, fewer than 2 rows or columns, or
    without contrast, see ``MIN_CONTRAST``) never raises: the state stays as it is, the last good command is held
    for ``HOLD_S`` since its frame and then led to straight within ``RELEASE_S``. ``fault`` says what is wrong in a
    few words (None when nothing is), ``healthy`` whether the last usable frame is at most ``HOLD_S`` old: a car
    should brake when it is not. A frame after more than ``HOLD_S + RELEASE_S`` begins a new state.

    The answer is always finite and within +-``max_curvature_per_m``. Not for use by several threads at once.

    Args:
        path: of the model, or of the folder that holds ``policy.onnx``.
        horizon: row of the horizon in the camera's frame as a share of its height: where a straight level road
            ahead vanishes. None takes that of the camera that the policy was trained for; if it was trained for
            none in particular, 0.5, a camera that looks level.
        n_threads: of ONNX Runtime.

    Raises:
        ValueError: no such file, no policy of ``EXPORT_FORMAT``, or a horizon outside 0 to 1.
        ImportError: ONNX Runtime is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, horizon: float | None = None, n_threads: int = 1) -> None:
        if horizon is not None and not 0 <= horizon <= 1:
            raise ValueError(f"driver: horizon must be a share of the frame's height, 0 to 1, got {horizon!r}")
        self._session, meta = open_model(path, n_threads)
        horizon = float(meta.get("camera_horizon", 0.5)) if horizon is None else horizon
        self.meta: dict[str, str] = meta
        self.max_curvature_per_m = float(meta["max_curvature_per_m"])
        self._horizon = horizon
        self._height_px, self._width_px = int(meta["height_px"]), int(meta["width_px"])
        self._policy_horizon = float(meta["horizon"])
        self._usual_dt_s = float(meta["dt_s"])
        self._initial_state = np.asarray(json.loads(meta["initial_state"]), np.float32)[None]
        self._latencies_ms: deque[float] = deque(maxlen=LATENCY_STEPS)
        self.reset()
        # The first run of a session is slow; the first frame on the road shall not be.
        self._run(np.zeros((self._height_px, self._width_px, 3), np.uint8), self._usual_dt_s)

    def reset(self) -> None:
        """Forget what was seen: a new drive begins. The latencies stay."""
        self._state = self._initial_state
        self._command_per_m = 0.0
        self._since_frame_s = math.inf
        self._last_time_s: float | None = None
        self.fault: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether the last usable frame is at most ``HOLD_S`` old."""
        return self._since_frame_s <= HOLD_S

    @property
    def latency(self) -> Latency:
        """Median and 99th percentile of the time a step takes, resizing included."""
        if not self._latencies_ms:
            return Latency(0, math.nan, math.nan)
        median_ms, p99_ms = np.percentile(self._latencies_ms, [50, 99])
        return Latency(len(self._latencies_ms), float(median_ms), float(p99_ms))

    def step(self, frame: np.ndarray | None, *, time_s: float | None = None, dt_s: float | None = None) -> float:
        """Path curvature in 1/m, left positive, for a frame; see the class for bad frames and times.

        Raises:
            ValueError: both ``time_s`` and ``dt_s`` are given.
        """
        started_s = time.perf_counter()
        self._since_frame_s += self._elapsed_s(time_s, dt_s)
        picture, self.fault = self._picture(frame)
        if picture is None:
            return self._without_frame()
        if self._since_frame_s > HOLD_S + RELEASE_S:
            self._state = self._initial_state
            dt_s = self._usual_dt_s
        else:
            dt_s = self._since_frame_s
        curvature_per_m, state = self._run(picture, min(max(dt_s, MIN_DT_S), MAX_DT_S))
        if not (math.isfinite(curvature_per_m) and np.isfinite(state).all()):
            self._state, self.fault = self._initial_state, "the network's answer is not finite"
            return self._without_frame()
        limit = self.max_curvature_per_m
        self._state, self._command_per_m = state, min(max(curvature_per_m, -limit), limit)
        self._since_frame_s = 0.0
        self._latencies_ms.append(1e3 * (time.perf_counter() - started_s))
        return self._command_per_m

    def _elapsed_s(self, time_s: float | None, dt_s: float | None) -> float:
        """True time since the last call."""
        if dt_s is not None:
            if time_s is not None:
                raise ValueError("driver: give time_s or dt_s, not both")
            self._last_time_s = None
            elapsed_s = float(dt_s)
        else:
            now_s = time.monotonic() if time_s is None else float(time_s)
            elapsed_s = math.nan if self._last_time_s is None else now_s - self._last_time_s
            self._last_time_s = now_s
        return elapsed_s if math.isfinite(elapsed_s) and elapsed_s > 0 else self._usual_dt_s

    def _without_frame(self) -> float:
        share = 1.0 - (self._since_frame_s - HOLD_S) / RELEASE_S
        return self._command_per_m * min(max(share, 0.0), 1.0)

    def _picture(self, frame: Any) -> tuple[np.ndarray | None, str | None]:
        """The frame at the policy's size, or what is wrong with it."""
        if frame is None:
            return None, "no frame"
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
            got = frame.dtype if isinstance(frame, np.ndarray) else type(frame).__name__
            return None, f"expected a frame of uint8, got {got}"
        if frame.ndim != 3 or frame.shape[2] != 3 or min(frame.shape) < 2:
            return None, f"expected a frame (H, W, 3), got {frame.shape}"
        picture = self._resized(frame)
        contrast = int(picture.max()) - int(picture.min())
        if contrast < MIN_CONTRAST:
            return None, f"a frame without contrast ({contrast} grey levels)"
        return picture, None

    def _resized(self, frame: np.ndarray) -> np.ndarray:
        height_px, width_px = frame.shape[:2]
        shape = self._width_px / self._height_px
        if width_px < shape * height_px * (1 - MAX_ASPECT_ERROR):
            n_rows = max(round(width_px / shape), 1)
            top = round(self._horizon * height_px - self._policy_horizon * n_rows)
            top = min(max(top, 0), height_px - n_rows)
            frame = frame[top : top + n_rows]
        elif width_px > shape * height_px * (1 + MAX_ASPECT_ERROR):
            n_columns = max(round(height_px * shape), 1)
            left = (width_px - n_columns) // 2
            frame = frame[:, left : left + n_columns]
        if frame.shape[:2] == (self._height_px, self._width_px):
            return frame
        method = cv2.INTER_LINEAR if frame.shape[1] < self._width_px else cv2.INTER_AREA
        return cv2.resize(frame, (self._width_px, self._height_px), interpolation=method)

    def _run(self, picture: np.ndarray, dt_s: float) -> tuple[float, np.ndarray]:
        inputs = {"frame": picture[None], "state": self._state, "dt_s": np.array([dt_s], np.float32)}
        curvature_per_m, state = self._session.run(["curvature_per_m", "new_state"], inputs)
        return float(curvature_per_m[0]), state


def open_session(model: str | bytes, n_threads: int = 1) -> Any:
    """ONNX Runtime's session of a model, a path or what is in the file, on the processor; raises as that does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def open_model(path: str | os.PathLike[str], n_threads: int) -> tuple[Any, dict[str, str]]:
    """The session of a model and its metadata, both checked."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise ImportError("driver: ONNX Runtime is missing; run: pip install onnxruntime")
    file = Path(path)
    file = file / MODEL_FILE if file.is_dir() else file
    if not file.is_file():
        raise ValueError(f"driver: {file}: no such file; make it with liquid-lane export")
    try:
        session = open_session(str(file), n_threads)
    except Exception as error:  # its classes share no public base
        reason = " ".join(str(error).split())
        raise ValueError(f"driver: {file}: ONNX Runtime cannot read it ({reason})") from None
    meta = dict(session.get_modelmeta().custom_metadata_map)
    if meta.get("format") != EXPORT_FORMAT:
        raise ValueError(
            f"driver: {file}: expected a policy of export format {EXPORT_FORMAT}, got "
            f"{meta.get('format', 'another model')}; make it with liquid-lane export"
        )
    return session, meta
