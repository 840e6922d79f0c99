import numpy as np
import pytest

from sim.camera import Camera
from sim.errors import BadInputError

CAMERA = Camera(height_px=60, width_px=90, focal_u_px=80.0, focal_v_px=70.0, horizon_u_px=44.0, horizon_v_px=20.0)


def test_camera_left_is_towards_column_zero_and_near_is_low():
    u_px, v_px = CAMERA.project(np.array([10.0, 5.0]), np.array([1.0, 1.0]))
    assert u_px[1] < u_px[0] < CAMERA.horizon_u_px
    assert v_px[1] > v_px[0] > CAMERA.horizon_v_px


def test_camera_resized_sees_the_same_ground():
    double = CAMERA.resized(120, 180)
    forward_m, left_m = np.array([4.0, 20.0]), np.array([1.0, -3.0])
    u_px, v_px = CAMERA.project(forward_m, left_m)
    u2_px, v2_px = double.project(forward_m, left_m)
    np.testing.assert_allclose(u2_px + 0.5, 2 * (u_px + 0.5))
    np.testing.assert_allclose(v2_px + 0.5, 2 * (v_px + 0.5))


def test_camera_cropped_moves_the_horizon():
    cut = CAMERA.cropped(top_px=5, left_px=7, height_px=40, width_px=50)
    assert (cut.horizon_u_px, cut.horizon_v_px) == (37.0, 15.0)


@pytest.mark.parametrize("field", ["height_m", "focal_u_px", "width_px"])
def test_camera_rejects_a_size_that_is_not_positive(field):
    with pytest.raises(BadInputError, match=field):
        Camera(**{field: 0})
