"""The path a recorded car drove: its speed where nobody recorded it, and the integral of curvature and speed."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import cv2
import numpy as np

from sim.camera import Camera
from sim.conventions import MAX_CURVATURE_PER_M
from sim.drive import Drive
from sim.errors import BadInputError
from sim.road import STEP_M, Road

MIN_SPEED_MPS, MAX_SPEED_MPS, SPEED_STEP_MPS = 2.0, 45.0, 0.2
"""Speeds that are told apart in pictures; a car that stands is not."""
MAX_ACCELERATION_MPS2 = 4.0
N_FORWARD, N_LEFT = 64, 48
"""Cells of the bird's-eye view that the speed is read from."""
REACH, HALF_WIDTH_M = 1.8, 3.0
"""That view goes from the nearest ground seen to this many times its distance, and this far to both sides."""
TAIL_M = 60.0
"""A path goes on straight behind its last row for this far, so that one can aim beyond it."""


@dataclass(frozen=True, eq=False)
class RecordedPath:
    """The path of the rear axle over one stretch of rows without a gap in time.

    Attributes:
        start_row: row of the drive that the arrays below begin with.
        time_s: of each row since that one, (n,).
        s_m: arc length at each row, (n,), from 0, never falling.
        curvature_per_m: recorded at each row, within the steering stop, (n,).
        step_mps: mean speed from each row to the next, (n - 1,).
        road: the path as a centre line, straight on for ``TAIL_M`` behind the last row.
    """

    start_row: int
    time_s: np.ndarray
    s_m: np.ndarray
    curvature_per_m: np.ndarray
    step_mps: np.ndarray
    road: Road

    def __len__(self) -> int:
        return len(self.s_m)

    def nearest(self, s_m: float) -> int:
        """The first of the rows that were taken nearest to an arc length."""
        i = min(int(np.searchsorted(self.s_m, s_m)), len(self) - 1)
        return i - 1 if i > 0 and s_m - self.s_m[i - 1] < self.s_m[i] - s_m else i


def recorded_paths(drive: Drive, speed_mps: np.ndarray) -> list[RecordedPath]:
    """One path a segment of the drive (a single row is none), from speeds (T,) at its rows.

    The curvature of a row holds until the next one, as a command does, and beyond ``MAX_CURVATURE_PER_M`` it is
    taken as that; the speed in between is the mean of both rows. Each path begins at the origin along x.
    """
    paths = []
    for segment in drive.segments():
        if segment.stop - segment.start < 2:
            continue
        speed = np.asarray(speed_mps[segment], np.float64)
        curvature = np.asarray(drive.curvature_per_m[segment], np.float64)
        curvature = np.clip(curvature, -MAX_CURVATURE_PER_M, MAX_CURVATURE_PER_M)
        time_s = drive.timestamps_s[segment] - drive.timestamps_s[segment.start]
        step_mps = np.maximum(0.5 * (speed[1:] + speed[:-1]), 0.0)
        s_m = np.concatenate([[0.0], np.cumsum(step_mps * np.diff(time_s))])
        heading = np.concatenate([[0.0], np.cumsum(curvature[:-1] * np.diff(s_m))])
        road = _road_along(s_m, heading, curvature)
        paths.append(RecordedPath(segment.start, time_s, s_m, curvature, step_mps, road))
    return paths


def _road_along(s_m: np.ndarray, heading_rad: np.ndarray, curvature_per_m: np.ndarray) -> Road:
    """Flat centre line from headings (n,) at arc lengths (n,), an arc between any two of them."""
    grid_m = np.arange(0.0, s_m[-1] + TAIL_M, STEP_M)
    heading = np.interp(grid_m, s_m, heading_rad)
    curvature = np.where(grid_m > s_m[-1], 0.0, np.interp(grid_m, s_m, curvature_per_m))
    middle = 0.5 * (heading[1:] + heading[:-1])
    x_m, y_m = (np.concatenate([[0.0], np.cumsum(STEP_M * f(middle))]) for f in (np.cos, np.sin))
    flat = np.zeros_like(grid_m)
    return Road(grid_m, x_m, y_m, heading, curvature, flat, flat)


_estimates: weakref.WeakKeyDictionary[Drive, np.ndarray] = weakref.WeakKeyDictionary()


def speed_of(drive: Drive) -> np.ndarray:
    """The drive's speed (T,), or where it has none the estimate, made once a drive and kept with it in memory."""
    if drive.speed_mps is not None:
        return drive.speed_mps
    if drive not in _estimates:
        _estimates[drive] = estimate_speed_mps(drive)
    return _estimates[drive]


# Speed from pictures ---------------------------------------------------------------------------------------


def estimate_speed_mps(drive: Drive) -> np.ndarray:
    """Speed at each row, float32 (T,), from how the texture of the ground comes nearer from frame to frame.

    The ground in front is resampled to a bird's-eye view of even metres. What is fixed to the picture cancels in
    the difference of consecutive views; the phase correlation (Kuglin and Hines 1975) of two consecutive
    differences has its peak at the distance driven in between. The likeliest course of speeds under
    ``MAX_ACCELERATION_MPS2`` is then found by dynamic programming, so frames without texture or nearly black are
    bridged. Only as exact as the camera's height: 5 % too high a camera gives 5 % too high a speed. A car that
    stands is taken to creep at ``MIN_SPEED_MPS``.

    Raises:
        BadInputError: the pictures show no ground, or nothing that moves.
    """
    view = _BirdsEye(drive.camera)
    rates_mps = np.arange(MIN_SPEED_MPS, MAX_SPEED_MPS, SPEED_STEP_MPS)
    speed_mps = np.empty(len(drive), np.float32)
    seen = False
    for segment in drive.segments():
        step_s = drive.dt_s()[segment]
        evidence = np.zeros((len(step_s), len(rates_mps)))
        last: np.ndarray | None = None
        difference: np.ndarray | None = None
        for k, frame in enumerate(drive.frames[segment]):
            now = view.view(frame)
            before, difference = difference, None if last is None else view.spectrum(now - last)
            if before is not None and difference is not None:
                evidence[k] = view.correlation(before, difference, rates_mps * step_s[k])
            last = now
        seen = seen or bool(evidence.any())
        speed_mps[segment] = _likeliest(evidence, rates_mps, step_s)
    if not seen:
        raise BadInputError("drive: nothing moves in its pictures, so its speed cannot be seen; give speed_mps")
    return speed_mps


def _likeliest(evidence: np.ndarray, rates_mps: np.ndarray, step_s: np.ndarray) -> np.ndarray:
    """The course of speeds (n,) with the largest sum of evidence (n, speeds) under the largest acceleration."""
    n_rates = len(rates_mps)
    total = evidence[0].copy()
    came_from = np.zeros(evidence.shape, np.int64)
    for k in range(1, len(evidence)):
        reach = max(1, round(MAX_ACCELERATION_MPS2 * step_s[k] / SPEED_STEP_MPS))
        padded = np.pad(total, reach, constant_values=-np.inf)
        choices = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).copy()
        choices[:, np.arange(2 * reach + 1) != reach] -= 0.05  # without evidence the speed stays
        best = choices.argmax(axis=1)
        came_from[k] = np.arange(n_rates) + best - reach
        total = choices[np.arange(n_rates), best] + evidence[k]
    course = np.empty(len(evidence), np.int64)
    course[-1] = total.argmax()
    for k in range(len(evidence) - 1, 0, -1):
        course[k - 1] = came_from[k, course[k]]
    n_smooth = max(1, round(0.5 / float(np.median(step_s))))
    return cv2.blur(rates_mps[course][:, None], (1, n_smooth), borderType=cv2.BORDER_REPLICATE)[:, 0]


class _BirdsEye:
    """Ground in front of the camera on a grid of even metres, and how far it came nearer."""

    def __init__(self, camera: Camera) -> None:
        near_m = camera.focal_v_px * camera.height_m / (camera.height_px - 1.0 - camera.horizon_v_px)
        if not 0 < near_m < 100:
            raise BadInputError("drive: its pictures show no ground, so its speed cannot be seen; give speed_mps")
        self.cell_m = near_m * (REACH - 1.0) / N_FORWARD
        forward_m = near_m + self.cell_m * np.arange(N_FORWARD)[:, None]
        left_m = np.linspace(HALF_WIDTH_M, -HALF_WIDTH_M, N_LEFT)[None]
        u_px, v_px = np.broadcast_arrays(*camera.project(forward_m, left_m))
        self._maps = u_px.astype(np.float32), v_px.astype(np.float32)
        along = np.hanning(N_FORWARD + 2)[1:-1]
        self._window = np.outer(along, np.hanning(N_LEFT + 2)[1:-1]).astype(np.float32)
        frequency = np.hypot(np.fft.fftfreq(N_FORWARD)[:, None], np.fft.rfftfreq(N_LEFT)[None])
        self._low_pass = np.exp(-((frequency / 0.12) ** 2))
        # Two windowed views overlap less the further they are apart: undone, or every speed comes out too low.
        overlap = np.correlate(along, along, "full")[N_FORWARD - 1 :] / (along @ along)
        self._n_fine = 4 * N_FORWARD
        fine = np.arange(self._n_fine // 2) / 4
        self._gain = 1.0 / np.maximum(np.interp(fine, np.arange(N_FORWARD), overlap), 0.4)

    def view(self, frame: np.ndarray) -> np.ndarray:
        """Texture of the ground of uint8 (H, W, 3), float32 (N_FORWARD, N_LEFT): no lane lines, no exposure."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        view = cv2.remap(grey, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        view = np.log(view.astype(np.float32) + 10.0)
        return view - cv2.blur(view, (1, 17))

    def spectrum(self, difference: np.ndarray) -> np.ndarray:
        """Whitened spectrum (N_FORWARD, N_LEFT // 2 + 1) of the difference of two views."""
        contrast = np.sqrt(cv2.blur(difference * difference, (N_LEFT // 2 + 1, N_FORWARD // 4 + 1)))
        even = np.clip(difference / (contrast + 0.005), -2.0, 2.0)
        spectrum = np.fft.rfft2(even * self._window)
        return spectrum / (np.abs(spectrum) + 1e-6)

    def correlation(self, before: np.ndarray, now: np.ndarray, distance_m: np.ndarray) -> np.ndarray:
        """Phase correlation at distances the car may have driven, in its standard deviations; 0 where unknown.

        A few cells to either side are allowed, for a car that turns.
        """
        surface = np.fft.irfft(before * now.conj() * self._low_pass, n=N_LEFT, axis=1)
        columns = surface[:, np.arange(-3, 4)]
        fine = np.zeros((self._n_fine, columns.shape[1]), complex)  # zeros between: four values a cell
        half = N_FORWARD // 2
        fine[:half], fine[1 - half :] = columns[:half], columns[1 - half :]
        along = np.fft.ifft(fine, axis=0).real[: self._n_fine // 2].max(axis=1) * self._gain
        along = (along - along.mean()) / (along.std() + 1e-9)
        return np.interp(distance_m / self.cell_m * 4, np.arange(len(along)), along, right=0.0)
