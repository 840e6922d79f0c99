"""How true the re-projection of ``lane/Replay-v0`` is, where the true picture is known: in our own world.

    python tests/benchmarks/bench_viewpoint.py

Pictures taken in the middle of the lane are moved to each pose and compared with what the world shows from there: two
roads, three places each, on flat empty ground and with hills and objects. In brackets the picture left as it was taken.
The figures are the same on every machine of one architecture.
"""

import math

import gymnasium

from driving.console import print_table
from sim.viewpoint import viewpoint_fidelity

POSES = [(0.25, 0.0), (0.5, 0.0), (1.0, 0.0), (1.5, 0.0)] + [(0.0, math.radians(a)) for a in (2.0, 4.0, 6.0)]
"""Lateral offset (m) and heading error (rad)."""
WORLDS = {
    "flat, nothing beside the road": {"hills": False, "roadside": False},
    "hills, trees, traffic": {},
}
N_ROADS = 2


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
