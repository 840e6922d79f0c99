import numpy as np
import pytest

from driving.drive_video import draw_path
from driving.video.canvas import ACCENTS
from sim.camera import Camera

CAMERA = Camera(height_px=312, width_px=800, focal_u_px=600.0, focal_v_px=600.0, horizon_u_px=400.0, horizon_v_px=100.0)


def drawn(curvature_per_m, camera=CAMERA):
    picture = np.zeros((camera.height_px, camera.width_px, 3), np.uint8)
    draw_path(picture, camera, curvature_per_m)
    return (np.abs(picture.astype(int) - ACCENTS[0]).sum(2) < 60), picture


@pytest.mark.parametrize("curvature_per_m", [0.0, 0.02, -0.02, 1e-12])
def test_drive_video_path_lies_on_the_circle_of_the_steering(curvature_per_m):
    line, _ = drawn(curvature_per_m)
    rows = np.flatnonzero(line.any(1))
    assert rows.max() >= CAMERA.height_px - 2
    for v in rows[5:-5:10]:
        x = CAMERA.focal_v_px * CAMERA.height_m / (v - CAMERA.horizon_v_px)
        radius = 1 / curvature_per_m if abs(curvature_per_m) > 1e-9 else None
        y = 0.0 if radius is None else radius - np.sign(radius) * np.sqrt(radius**2 - x**2)
        middle = np.flatnonzero(line[v]).mean()
        assert middle == pytest.approx(CAMERA.horizon_u_px - CAMERA.focal_u_px * y / x, abs=3.5)


def test_drive_video_path_stops_where_the_circle_turns_back():
    line, _ = drawn(0.1)  # a circle of 10 m ends 10 m ahead, row 184
    assert np.flatnonzero(line.any(1)).min() >= 180


@pytest.mark.parametrize("horizon_v_px", [-50.0, 311.9, 400.0])
def test_drive_video_path_is_harmless_wherever_the_horizon_lies(horizon_v_px):
    camera = Camera(312, 800, 600.0, 600.0, 400.0, horizon_v_px)
    for curvature_per_m in (0.0, 5.0, -10.0):
        drawn(curvature_per_m, camera)
