"""A picture of every kind of noise at its three levels: ``python -m driving.noise.sheet FILE.png``."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from driving.noise import KINDS, Noise
from driving.noise.kind import LEVELS, Kind
from sim.files import new_file
from sim.procedural_env import ProceduralEnv

N_ACROSS, SEED, SCALE = 3, 1003, 2
_TITLE_PX, _GAP_PX = 26, 10


def noise_sheet() -> np.ndarray:
    """uint8 (H, W, 3), RGB: three kinds across, each mild, middle and strong; only those that change pictures."""
    env = ProceduralEnv(family="country", season="summer", weather="clear")
    frame, _ = env.reset(seed=SEED, options={"along_road_m": 40.0})
    blocks = [_block(kind, frame) for kind in KINDS.values() if kind.is_picture]
    blocks += [np.full_like(blocks[0], 255)] * (-len(blocks) % N_ACROSS)
    rows = [np.concatenate(blocks[i : i + N_ACROSS], axis=1) for i in range(0, len(blocks), N_ACROSS)]
    return np.concatenate(rows)


def _block(kind: Kind, frame: np.ndarray) -> np.ndarray:
    pictures = []
    for name, severity in zip(LEVELS, kind.levels, strict=True):
        noisy = Noise(kind.name, severity)(SEED).see(frame)
        larger = cv2.resize(noisy, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LINEAR)
        framed = cv2.copyMakeBorder(larger, _TITLE_PX, _GAP_PX, _GAP_PX, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        title = f"{kind.name} {name}: {severity:g}"
        cv2.putText(framed, title, (_GAP_PX, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
        pictures.append(framed)
    return np.concatenate(pictures, axis=1)


def main(path: Path) -> None:
    """Write the sheet."""
    with new_file(path) as unfinished:
        cv2.imwrite(str(unfinished), noise_sheet()[..., ::-1])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "noises.png"))
