"""How true the re-projection of ``lane/Replay-v0`` is, where the true picture is known: in our own world.

    python tests/benchmarks/bench_viewpoint.py

Pictures taken in the middle of the lane are moved to each pose and compared with what the world shows from there: two
roads, three places each, on flat empty ground and with hills and objects. In brackets the picture left as it was taken.
The figures are the same on every machine of one architecture.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
from skimage.metrics import structural_similarity

from driving.console import print_table
from sim.viewpoint import Viewpoint, camera_move

POSES = [(0.25, 0.0), (0.5, 0.0), (1.0, 0.0), (1.5, 0.0)] + [(0.0, math.radians(a)) for a in (2.0, 4.0, 6.0)]
"""Lateral offset (m) and heading error (rad)."""
WORLDS = {"flat, nothing beside the road": {"hills": False, "roadside": False}, "hills, trees, traffic": {}}
N_ROADS = 2


def viewpoint_fidelity(
    env: Any,
    seeds: Iterable[int],
    poses: Sequence[tuple[float, float]],
    along_road_m: Sequence[float] = (50.0, 150.0, 250.0),
    camera_forward_m: float = 1.5,
) -> list[dict[str, float]]:
    """Compare the re-projected picture of a centred car with the true one, at each pose beside the lane's middle.

    Args:
        env: a world that starts where it is told (``reset(options=...)`` with ``along_road_m``,
            ``lateral_offset_m``, ``heading_error_rad``) and looks the same for the same seed.
        seeds: of its episodes.
        poses: (lateral offset in m, heading error in rad) of the rear axle.
        along_road_m: places where each episode is looked at.
        camera_forward_m: from the rear axle to the lens.

    Returns:
        A row a pose, means over all places: ``psnr_db`` and ``ssim`` of the re-projection against the true
        picture (all pixels, invented ones too), ``unmoved_psnr_db`` and ``unmoved_ssim`` of the picture as it
        was taken, ``mask_iou`` and ``unmoved_mask_iou`` of the road masks, and ``unseen_share``.
    """
    env = env.unwrapped
    viewpoint = Viewpoint(env.camera, env.camera.height_px, env.camera.width_px)
    sums: dict[tuple[float, float], list[np.ndarray]] = {pose: [] for pose in poses}

    def look(seed: int, place_m: float, offset_m: float, heading_rad: float) -> tuple[np.ndarray, np.ndarray]:
        start = {"along_road_m": place_m, "lateral_offset_m": offset_m, "heading_error_rad": heading_rad}
        frame, info = env.reset(seed=seed, options=start)
        return frame, info["road_mask"]

    for seed in seeds:
        for place_m in along_road_m:
            frame, mask = look(seed, place_m, 0.0, 0.0)
            for offset_m, heading_rad in poses:
                true_frame, true_mask = look(seed, place_m, offset_m, heading_rad)
                move = camera_move(0.0, offset_m, heading_rad, camera_forward_m)
                moved, moved_mask = viewpoint.frame(frame, move), viewpoint.mask(mask, move)
                sums[offset_m, heading_rad].append(
                    np.array(
                        [
                            *_likeness(moved, true_frame, moved_mask, true_mask),
                            *_likeness(frame, true_frame, mask, true_mask),
                            viewpoint.unseen_share(move),
                        ]
                    )
                )
    names = ("psnr_db", "ssim", "mask_iou", "unmoved_psnr_db", "unmoved_ssim", "unmoved_mask_iou")
    return [
        {"lateral_offset_m": offset_m, "heading_error_rad": heading_rad}
        | dict(zip((*names, "unseen_share"), np.mean(values, axis=0).tolist(), strict=True))
        for (offset_m, heading_rad), values in sums.items()
    ]


def _likeness(
    picture: np.ndarray, true_picture: np.ndarray, mask: np.ndarray, true_mask: np.ndarray
) -> tuple[float, float, float]:
    """PSNR (dB), SSIM (Wang et al. 2004) and the overlap of the masks (intersection / union)."""
    error = float(np.mean((picture.astype(np.float64) - true_picture) ** 2))
    psnr_db = 10.0 * math.log10(255.0**2 / max(error, 1e-3))
    ssim = float(structural_similarity(picture, true_picture, channel_axis=2))
    return psnr_db, ssim, float((mask & true_mask).sum() / max((mask | true_mask).sum(), 1))


def main():
    for title, options in WORLDS.items():
        env = gymnasium.make("sim:lane/Procedural-v0", **options)
        rows = viewpoint_fidelity(env, range(N_ROADS), POSES)
        env.close()
        print_table(
            title,
            [
                {
                    "moved by": f"{row['lateral_offset_m']:g} m"
                    if row["lateral_offset_m"]
                    else f"{math.degrees(row['heading_error_rad']):.0f} degrees",
                    "PSNR dB": f"{row['psnr_db']:.1f} ({row['unmoved_psnr_db']:.1f})",
                    "SSIM": f"{row['ssim']:.2f} ({row['unmoved_ssim']:.2f})",
                    "road mask IoU": f"{row['mask_iou']:.2f} ({row['unmoved_mask_iou']:.2f})",
                }
                for row in rows
            ],
        )


if __name__ == "__main__":
    main()
