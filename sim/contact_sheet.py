"""A picture of many settings of the embedded world side by side: ``python -m sim.contact_sheet worlds.jpg``."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from sim.errors import BadInputError
from sim.families import FAMILIES
from sim.files import new_file
from sim.procedural_env import ProceduralEnv
from sim.seasons import SEASONS
from sim.weathers import WEATHERS

N_COLUMNS = 4
ALONG_ROAD_M = 150.0


def contact_sheet(first_seed: int = 900, width_px: int = 400) -> np.ndarray:
    """Every weather in every season, each on another family's road: uint8 (h, 4 ``width_px``, 3) RGB."""
    rows = []
    for i_weather, weather in enumerate(WEATHERS):
        row = []
        for i_season, season in enumerate(SEASONS):
            family = list(FAMILIES)[(i_weather + i_season) % len(FAMILIES)]
            env = ProceduralEnv(render_mode="rgb_array", family=family, season=season, weather=weather)
            env.reset(seed=first_seed + i_weather * N_COLUMNS + i_season, options={"along_road_m": ALONG_ROAD_M})
            picture = env.render()
            assert picture is not None
            size = (width_px, round(width_px * picture.shape[0] / picture.shape[1]))
            small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            label = f"{season}, {weather.replace('_', ' ')}, {family}"
            for shift_px, grey in ((1, 0), (0, 255)):  # white on its own shadow
                place = (8 + shift_px, 18 + shift_px)
                cv2.putText(small, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (grey,) * 3, 1, cv2.LINE_AA)
            row.append(small)
        rows.append(np.hstack(row))
    return np.vstack(rows)


def main(arguments: list[str]) -> None:
    """Write the sheet to the file named on the command line."""
    if len(arguments) != 1 or Path(arguments[0]).suffix not in (".jpg", ".png"):
        raise BadInputError(f"contact_sheet: expected the name of one .jpg or .png file, got {arguments}")
    path = Path(arguments[0])
    ok, data = cv2.imencode(path.suffix, contact_sheet()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    assert ok
    with new_file(path) as unfinished:
        unfinished.write_bytes(data.tobytes())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BadInputError as error:
        sys.exit(str(error))
