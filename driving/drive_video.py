"""A drive as a video: its pictures with the path that the steering leads along, the course around now, the wheel."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from driving.video.canvas import ACCENTS, BACKGROUND, INK, MUTED, TRACK, WARNING, card, line, lines, write
from driving.video.instruments import steering
from driving.video.writer import VideoWriter
from sim.camera import Camera
from sim.drive import StoredDrive

WIDTH_PX = 960
STRIP_PX = 214
"""Below the picture: course and wheel."""
WHEEL_PX = 210
AROUND_S = 8.0
"""The course is shown so long before and after now."""
PATH_ROWS = (1.0, 0.2)
"""The path is drawn over these rows, as shares of the way from the horizon to the picture's lower edge."""
MOST_FORWARD = 200.0
"""As heights of the camera: what a horizon below the picture must not exceed."""
MAX_LINE_PX = 9
SHOWN_SHARE = 99.5
"""Percentile of the curvatures that fills wheel and course."""


def film_drive(drive: StoredDrive, path: Path, on_frame: Callable[[], None] = lambda: None) -> None:
    """Write the drive as an mp4, a frame a row, one frame in memory at a time.

    Args:
        drive: to be shown.
        path: of the video.
        on_frame: called after every frame.

    Raises:
        BadInputError: damaged frames, or a place that cannot be written.
    """
    height_px = 2 * round(WIDTH_PX * drive.camera.height_px / drive.camera.width_px / 2)
    camera = drive.camera.resized(height_px, WIDTH_PX)
    time_s = drive.timestamps_s - drive.timestamps_s[0]
    largest = max(float(np.percentile(np.abs(drive.curvature_per_m), SHOWN_SHARE)), 1e-3)
    piece = np.repeat(np.arange(len(drive.segments())), [s.stop - s.start for s in drive.segments()])
    rate_hz = min(max(1.0 / float(np.median(drive.dt_s())), 1.0), 120.0)
    with VideoWriter(path, rate_hz, height_px + STRIP_PX, WIDTH_PX) as video:
        for row, frame in enumerate(drive.read_frames()):
            canvas = np.empty((height_px + STRIP_PX, WIDTH_PX, 3), np.uint8)
            canvas[:] = BACKGROUND
            curvature_per_m = float(drive.curvature_per_m[row])
            picture = canvas[:height_px]
            picture[:] = cv2.resize(frame, (WIDTH_PX, height_px), interpolation=cv2.INTER_CUBIC)
            draw_path(picture, camera, curvature_per_m)
            words = f"{time_s[row]:.1f} s   row {row} of {len(drive)}"
            if drive.speed_mps is not None:
                words += f"   {drive.speed_mps[row]:.1f} m/s"
            write(canvas, words, 14, height_px + 16, 13, MUTED)
            course = (10, height_px + 30, WIDTH_PX - WHEEL_PX - 26, STRIP_PX - 38)
            _course(canvas, course, time_s, drive.curvature_per_m, piece, row, largest)
            wheel = (WIDTH_PX - WHEEL_PX - 8, height_px + 6, WHEEL_PX, STRIP_PX - 12)
            steering(canvas, wheel, curvature_per_m, largest, None, ACCENTS[0])
            video.write(canvas)
            on_frame()


def draw_path(picture: np.ndarray, camera: Camera, curvature_per_m: float) -> None:
    """Onto the picture (H, W, 3), in place: the arc of that curvature on flat ground, and the horizon.

    Where the line leaves the road, label, camera or horizon are wrong.
    """
    line(picture, (0, camera.horizon_v_px), (camera.width_px, camera.horizon_v_px), TRACK, 1)
    below_px = max(camera.height_px - camera.horizon_v_px, 1.0) * np.linspace(*PATH_ROWS, 40)
    forward_m = np.minimum(camera.focal_v_px / below_px, MOST_FORWARD) * camera.height_m
    ahead_m = forward_m[np.abs(curvature_per_m * forward_m) < 1]  # beyond a quarter circle nothing is ahead any more
    # Middle (0, 1 / k) and radius 1 / k: left = (1 - sqrt(1 - (k x)^2)) / k, written so that k may be 0.
    left_m = curvature_per_m * ahead_m**2 / (1 + np.sqrt(1 - (curvature_per_m * ahead_m) ** 2))
    points = np.stack(camera.project(ahead_m, left_m), axis=1).clip(-1e4, 1e4)
    for k, (start, end) in enumerate(itertools.pairwise(points)):
        width_px = max(round(MAX_LINE_PX * float(ahead_m[0] / ahead_m[k])), 2)
        line(picture, (start[0], start[1]), (end[0], end[1]), ACCENTS[0], width_px)


def _course(
    canvas: np.ndarray,
    rectangle: tuple[int, int, int, int],
    time_s: np.ndarray,
    curvature_per_m: np.ndarray,
    piece: np.ndarray,
    row: int,
    largest: float,
) -> None:
    """The steering around now, left upwards; it breaks where the drive has a gap."""
    left, top, width, height = card(canvas, rectangle, "Curvature of the steering, left up")
    middle = top + height / 2
    line(canvas, (left, middle), (left + width, middle), TRACK, 1)
    first, last = np.searchsorted(time_s, [time_s[row] - AROUND_S, time_s[row] + AROUND_S])
    x = left + width * (time_s[first:last] - time_s[row] + AROUND_S) / (2 * AROUND_S)
    y = middle - height / 2 * np.clip(curvature_per_m[first:last] / largest, -1, 1)
    for number in np.unique(piece[first:last]):
        its = piece[first:last] == number
        lines(canvas, np.stack([x[its], y[its]], axis=1), ACCENTS[0], 2)
    line(canvas, (left + width / 2, top), (left + width / 2, top + height), WARNING, 1)
    write(canvas, f"{largest:.3g} 1/m", left + width, top + 4, 11, INK, anchor="right")
