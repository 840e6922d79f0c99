"""The re-projected picture against closed forms, against a world drawn pixel by pixel, and against our own world."""

import gymnasium
import numpy as np
import pytest

import sim  # noqa: F401  (registers the environments)
from sim.camera import Camera
from sim.viewpoint import Move, Viewpoint, camera_move
from tests.benchmarks.bench_viewpoint import viewpoint_fidelity

CAMERA = Camera()
LARGE = Camera(156, 400, 1187.5, 1185.6, 203.9, 28.7, 1.25)
RNG = np.random.default_rng(5)
WAVES = [(RNG.uniform(0.4, 2.5, 2), RNG.uniform(0, 6)) for _ in range(8)]


def picture(camera, x_m=0.0, y_m=0.0, yaw_rad=0.0):
    """uint8 (H, W, 3): ground painted with waves in world coordinates, sky with waves in the direction of the ray."""
    u, v = np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px))
    ray_left = (camera.horizon_u_px - u) / camera.focal_u_px
    ray_up = (camera.horizon_v_px - v) / camera.focal_v_px
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    east, north = c - s * ray_left, s + c * ray_left
    with np.errstate(divide="ignore"):
        reach = np.where(ray_up < 0, camera.height_m / -ray_up, 0.0)
    ground = sum(np.sin(k[0] * (x_m + reach * east) + k[1] * (y_m + reach * north) + p) for k, p in WAVES)
    finest_m = np.sqrt(0.5 * camera.focal_v_px * camera.height_m)  # a row is half a metre long there
    ground = ground * np.exp(-((reach / finest_m) ** 2))
    sky = 4 * np.sin(25 * north / east + 15 * ray_up / east)
    grey = np.clip(128 + 25 * np.where(ray_up < 0, ground, sky), 0, 255)
    return np.stack([grey, 255 - grey, 0.5 * grey], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("camera", [CAMERA, LARGE])
def test_viewpoint_no_move_changes_no_pixel(camera):
    frame = picture(camera)
    same = Viewpoint(camera, camera.height_px, camera.width_px).frame(frame, Move())
    np.testing.assert_array_equal(same, frame)
    assert not np.shares_memory(same, frame)


@pytest.mark.parametrize("move", [Move(left_m=0.6), Move(yaw_rad=-0.07), Move(forward_m=0.4), Move(-0.3, -0.5, 0.05)])
@pytest.mark.parametrize("camera", [CAMERA, LARGE])
def test_viewpoint_shows_what_the_moved_camera_sees(camera, move):
    frame = picture(camera)
    kept = frame.copy()
    true = picture(camera, move.forward_m, move.left_m, move.yaw_rad)
    viewpoint = Viewpoint(camera, camera.height_px, camera.width_px)
    moved = viewpoint.frame(frame, move)
    seen = viewpoint.mask(np.ones(frame.shape[:2], bool), move)
    assert seen.shape == frame.shape[:2]
    middle = slice(camera.width_px // 4, 3 * camera.width_px // 4)
    error, unmoved = (np.abs(a.astype(int) - true)[:, middle].mean() for a in (moved, frame))
    assert error < 2
    assert error < 0.15 * unmoved
    np.testing.assert_array_equal(frame, kept)


def test_viewpoint_of_a_camera_to_the_left_shows_the_ground_further_right_and_the_sky_in_place():
    frame = np.zeros((78, 200, 3), np.uint8)
    frame[:, 100] = 255
    moved = Viewpoint(CAMERA).frame(frame, Move(left_m=0.5))
    np.testing.assert_array_equal(moved[:26], frame[:26])
    # Closed form: f_u left / forward, forward = f_v h / (v - v0).
    for v in (40, 60, 77):
        expected = 100 + 150.0 * 0.5 * (v - 26.0) / (150.0 * 1.4)
        columns = moved[v, :, 0].astype(float)
        assert (columns * np.arange(200)).sum() / columns.sum() == pytest.approx(expected, abs=0.1)


def test_viewpoint_has_no_seam_at_the_horizon():
    ramp = np.repeat(np.linspace(0, 250, 200)[None, :, None], 78, axis=0).astype(np.uint8)
    moved = Viewpoint(CAMERA).frame(np.broadcast_to(ramp, (78, 200, 3)).copy(), Move(0.3, 1.0, 0.08))
    steps = np.abs(np.diff(moved[20:32, 40:160, 0].astype(int), axis=0))
    assert steps.max() <= 4  # a metre to the side moves the first row of ground by less than a pixel


@pytest.mark.parametrize(("camera", "left_m"), [(CAMERA, 0.8), (LARGE, -1.1)])
def test_viewpoint_unseen_share_of_a_shift_is_a_triangle(camera, left_m):
    rows = np.arange(camera.height_px)
    below_px = np.maximum(rows - camera.horizon_v_px, 0.0)
    gone_px = abs(left_m) * camera.focal_u_px / (camera.focal_v_px * camera.height_m) * below_px
    expected = gone_px.mean() / camera.width_px
    assert Viewpoint(camera).unseen_share(Move(left_m=left_m)) == pytest.approx(expected, abs=0.006)


def test_viewpoint_unseen_share_of_a_small_turn_is_a_strip():
    expected = LARGE.focal_u_px * np.tan(0.05) / LARGE.width_px
    assert Viewpoint(LARGE).unseen_share(Move(yaw_rad=0.05)) == pytest.approx(expected, abs=0.01)
    assert Viewpoint(LARGE).unseen_share(Move()) == 0.0
    assert Viewpoint(LARGE).unseen_share(Move(yaw_rad=1.0)) == 1.0


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_viewpoint_support_leaves_that_share_unseen(share):
    for camera in (CAMERA, LARGE):
        viewpoint = Viewpoint(camera)
        shift_m, yaw_rad = viewpoint.support(share)
        for move in (Move(left_m=shift_m), Move(yaw_rad=yaw_rad), Move(left_m=-shift_m)):
            assert viewpoint.unseen_share(move) == pytest.approx(share, abs=0.01)


def test_viewpoint_invents_by_repeating_the_border():
    frame = np.full((78, 200, 3), 90, np.uint8)
    frame[:, :1] = 30  # what lies further left is not in the picture
    moved = Viewpoint(CAMERA).frame(frame, Move(yaw_rad=0.1))
    assert (moved[:, :10] == 30).all()


def test_viewpoint_mask_moves_as_its_picture():
    mask = np.zeros((156, 400), bool)
    mask[60:, 120:310] = True
    frame = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    viewpoint, move = Viewpoint(LARGE), Move(0.2, 0.5, -0.02)
    moved, moved_mask = viewpoint.frame(frame, move), viewpoint.mask(mask, move)
    assert (moved_mask.shape, moved_mask.dtype, moved.shape) == ((78, 200), np.bool_, (78, 200, 3))
    assert (moved_mask != (moved[..., 0] > 127)).mean() < 0.01
    assert (moved_mask != mask[::2, ::2]).mean() > 0.03


def test_viewpoint_lens_ahead_of_the_axle_swings_out_as_the_car_turns():
    move = camera_move(0.2, -0.3, np.pi / 2, 1.5)
    assert (move.forward_m, move.left_m) == pytest.approx((0.2 - 1.5, -0.3 + 1.5))
    assert camera_move(0.2, -0.3, 0.0, 1.5) == Move(0.2, -0.3, 0.0)


class Painted(gymnasium.Env):
    """A straight road of waves: the world of ``picture`` as an environment that starts where it is told."""

    camera = CAMERA

    def reset(self, *, seed=None, options=None):
        place_m, left_m, yaw_rad = (options[k] for k in ("along_road_m", "lateral_offset_m", "heading_error_rad"))
        frame = picture(CAMERA, place_m + 1.5 * np.cos(yaw_rad), left_m + 1.5 * np.sin(yaw_rad), yaw_rad)
        return frame, {"road_mask": frame[..., 0] > 128}


def test_viewpoint_fidelity_of_a_painted_world_is_high_only_when_moved():
    still, shifted, turned = viewpoint_fidelity(Painted(), [1], [(0.0, 0.0), (0.4, 0.0), (-0.2, 0.05)], (3.0, 8.0))
    assert still["psnr_db"] > 70
    assert (still["ssim"], still["mask_iou"]) == (1.0, 1.0)
    for row in (shifted, turned):
        assert row["psnr_db"] > row["unmoved_psnr_db"] + 5
        assert 1 - row["ssim"] < 0.3 * (1 - row["unmoved_ssim"])
        assert row["mask_iou"] > row["unmoved_mask_iou"]
    assert shifted["unseen_share"] < 0.05


def test_viewpoint_fidelity_in_our_own_world_beats_no_move_and_falls_with_the_shift():
    env = gymnasium.make("lane/Procedural-v0", weather="overcast", roadside=False, hills=False)
    poses = [(0.25, 0.0), (0.75, 0.0), (1.5, 0.0), (0.0, 0.03), (0.0, 0.08)]
    rows = viewpoint_fidelity(env, [1, 2], poses, (60.0, 160.0))
    for row in rows:
        assert row["psnr_db"] > row["unmoved_psnr_db"] + 5
        assert row["ssim"] > row["unmoved_ssim"] + 0.1
        assert row["mask_iou"] > max(row["unmoved_mask_iou"], 0.95)
    for series in (rows[:3], rows[3:]):
        assert np.all(np.diff([row["psnr_db"] for row in series]) < 0)
