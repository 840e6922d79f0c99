"""A folder of pictures and a table that names them, with the steering of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sim.drive import DriveMeta
from sim.errors import BadInputError
from sim.importers.flow_sign import guess_positive
from sim.importers.still_frames import common_size, last_name, pictures_in, shown, still_frames
from sim.importers.video import ABOVE_HORIZON, CAMERA, VEHICLE, relevant, sentence, with_rig_file
from sim.importers.view import view
from sim.label_table import find_table, read_labels
from sim.reading import require_folder
from sim.recording import Asked, Recording, Rows
from sim.steering import curvature, needed

RATE_HZ = 20.0
"""Assumed where the table has no times."""

LOOKED_FOR = "pictures and a CSV or text file that names them"


def read(src: Path, asked: Asked) -> Recording:
    """Pictures in ``src`` or in a folder below it, and their table; in order of time, else of the table.

    Raises:
        BadInputError: no table, no picture that it names.
    """
    require_folder(src, LOOKED_FOR)
    asked = with_rig_file(asked, src)
    path = find_table(src, src.name, asked.columns)
    table = read_labels(path, asked.columns)
    if table.pictures is None:
        raise BadInputError(f"{path}: no column names pictures; name it with --picture-column")
    folders = [src, *sorted(entry for entry in src.iterdir() if entry.is_dir() and not entry.name.startswith("."))]
    pictures = {name: found for folder in folders for name, found in pictures_in(folder).items()}
    files = [pictures.get(last_name(name), Path(last_name(name) or "?")) for name in table.pictures]
    vehicle = asked.rig.vehicle(VEHICLE)
    needed(table.unit, vehicle)
    size = common_size(files, src)
    said = list(table.said)
    positive = table.positive
    if positive is None:
        positive, sign_said = guess_positive(shown(files), table.steering, table.unit)
        said.append(sign_said)
    rate_hz = asked.rate_hz or RATE_HZ
    times_s = table.times_s
    if times_s is None or asked.rate_hz is not None:
        times_s = np.arange(len(table)) / rate_hz
        said.append(f"{rate_hz:g} frames a second" + ("" if asked.rate_hz else " are assumed"))
    rows = Rows()
    sign = table.sign(positive)
    for k, file in enumerate(files):
        speed = np.nan if table.speed_mps is None else table.speed_mps[k]
        rows.add(times_s[k], curvature(sign * table.steering[k], table.unit, vehicle), file, speed)
    rows.left_out["picture without a row"] += len(pictures.keys() - {file.name for file in files})
    known = relevant(vehicle, table.unit)
    cutout, notes = view(asked, CAMERA, known, size, ABOVE_HORIZON, lambda: shown(files), table.steering)
    notes.append(sentence(said))
    meta = DriveMeta(f"pictures in {src.name}", "none stated", vehicle, " ".join(notes).strip())
    return rows.recording(src, cutout, meta, still_frames(cutout), True, LOOKED_FOR)
