"""Scenes of a recorded drive: rows whose road mask is known, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from driving.data import policy_frames
from driving.instants import resized_mask
from driving.noise import Noise
from driving.study.scenes import Scenes, aim_px
from sim.drive import Drive
from sim.injection import Injection

BLOCK_S = 20.0
"""A recording is studied in blocks of this length: neighbouring frames are no independent samples."""


def scenes_of(
    drive: Drive, height_px: int, width_px: int, noise: Noise | None = None, every_s: float = 1.0, seed: int = 0
) -> Iterator[Scenes]:
    """One for each block with a known mask; the networks' memory begins anew with each. ``seed`` counts the blocks.

    Recordings know no classes but the road; the driver aims where the label leads to.
    """
    frames, dt_s, known = policy_frames(drive, height_px, width_px), drive.dt_s(), set(drive.mask_rows().tolist())
    assert drive.road_masks is not None
    camera = drive.camera.resized(height_px, width_px)
    n_blocks = 0
    for segment in drive.segments():
        lengths = np.cumsum(dt_s[segment])
        for block in range(int(lengths[-1] // BLOCK_S) + 1):
            rows = segment.start + np.flatnonzero(lengths // BLOCK_S == block)
            picked: list[int] = []
            for place, row in enumerate(rows.tolist()):
                last_s = lengths[rows[picked[-1]] - segment.start] if picked else -np.inf
                if row in known and lengths[row - segment.start] - last_s >= every_s - 1e-6:
                    picked.append(place)
            if not picked:
                continue
            injection = noise(seed + n_blocks) if noise else Injection()
            clean = frames[rows]
            film = np.stack([injection.see(frame) for frame in clean]) if noise else clean
            chosen = rows[picked]
            masks = np.stack([resized_mask(drive.road_masks[row], (height_px, width_px)) for row in chosen])
            yield Scenes(
                n_blocks, {}, camera, film, clean, dt_s[rows].astype(np.float32), np.array(picked), masks, None,
                aim_px(camera, drive.curvature_per_m[chosen].astype(float)),
            )  # fmt: skip
            n_blocks += 1
