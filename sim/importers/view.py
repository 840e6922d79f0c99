"""Which part of a recording's pictures becomes the frames of a drive."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from sim.camera import Camera
from sim.drive import VehicleFacts
from sim.errors import BadInputError
from sim.horizon import vanishing_point
from sim.importers.still_frames import common_size, shown
from sim.reading import Cutout, cut_to_shape
from sim.recording import Asked, Rows

Shown = Callable[[], Iterable[tuple[int, np.ndarray]]]
"""Gives row and picture, in order, of those that can be read."""


def view(
    asked: Asked,
    guess: Camera,
    vehicle: VehicleFacts,
    size: tuple[int, int],
    above: float,
    shown: Shown,
    steering: np.ndarray,
) -> tuple[Cutout, list[str]]:
    """The rectangle of a policy's shape around the horizon, and what of camera and car was assumed or found.

    Args:
        asked: by the user; ``estimate_horizon`` finds the horizon in the pictures.
        guess: the format's camera; at another size it keeps its field of view and its horizon's share of the height.
        vehicle: the format's facts of the car, as far as labels rest on them.
        size: rows and columns of the pictures.
        above: share of the rectangle that lies above the horizon.
        shown: the pictures.
        steering: by row, any unit.

    Raises:
        BadInputError: the pictures are too small, or do not show where the horizon is.
    """
    rig, notes = asked.rig, []
    if asked.estimate_horizon:
        point = vanishing_point(shown(), np.asarray(steering, float))
        if point is None:
            raise BadInputError("the pictures' motion does not show the horizon; say its row with --horizon-px")
        rig = dataclasses.replace(rig, horizon_px=round(point[1], 1))
        notes.append(f"The horizon was found at row {point[1]:.0f} of {size[0]} by the motion in the pictures.")
    camera = rig.camera(guess, *size)
    if not 0 < camera.horizon_v_px < camera.height_px:
        notes.append("The horizon lies outside the picture.")
    return cut_to_shape(camera, above, asked.height_px, asked.width_px), [rig.assumed(vehicle), *notes]


def view_of_files(
    rows: Rows, src: Path, asked: Asked, guess: Camera, vehicle: VehicleFacts, above: float
) -> tuple[Cutout, list[str]]:
    """``view`` of rows whose pictures are files; raises as it and ``common_size`` do."""
    paths, labels = rows.pictures, np.array(rows.curvature_per_m)
    return view(asked, guess, vehicle, common_size(paths, src), above, lambda: shown(paths), labels)
