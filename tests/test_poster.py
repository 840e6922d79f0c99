"""A printed picture beside the road: drawn where it stands, and the same in the form that gradients flow through."""

import itertools

import cv2
import numpy as np
import pytest
import torch

from driving.models.policy import PolicyConfig, build_policy, to_tensor
from driving.poster import LEFT, RIGHT, Place, _boards, optimise, printed_into
from sim.errors import BadInputError
from sim.poster import BESIDE_M, BOTTOM_M, HEIGHT_M, HEIGHT_PX, WIDTH_M, WIDTH_PX, boards_in_view, read_poster
from sim.procedural_env import ProceduralEnv
from sim.render import lens_of
from sim.surface_class import SurfaceClass


@pytest.fixture(scope="module")
def poster(tmp_path_factory):
    """A file whose quarters are red, green, blue and yellow."""
    picture = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    half = HEIGHT_PX // 2, WIDTH_PX // 2
    picture[: half[0], : half[1]], picture[: half[0], half[1] :] = (250, 5, 5), (5, 250, 5)
    picture[half[0] :, : half[1]], picture[half[0] :, half[1] :] = (5, 5, 250), (250, 250, 5)
    path = tmp_path_factory.mktemp("poster") / "p.png"
    cv2.imwrite(str(path), picture[..., ::-1])
    return path


def at(seed, **options):
    env = ProceduralEnv(**options)
    frame, info = env.reset(seed=seed, options={"along_road_m": 120.0})
    return env, frame, info


def boards(env):
    road, s_m, _ = env._road_here()
    x_m, y_m, heading_rad = env._pose()
    lens = lens_of(x_m, y_m, heading_rad)
    return list(boards_in_view(road, env.scene.section.right_edge_m, env.camera, s_m, *lens, heading_rad))


def test_poster_boards_stand_beside_the_road_upright_and_as_large_as_they_are():
    env, _, _ = at(1012, hills=False)
    env.place(100.0)
    found = boards(env)
    assert len(found) >= 2
    assert all(one.depth_m > other.depth_m for one, other in itertools.pairwise(found))
    camera, edge_m = env.camera, env.scene.section.right_edge_m
    near = found[-1]
    upper_left, upper_right, _, lower_left = near.corners_px
    assert upper_left[0] < upper_right[0]
    assert upper_left[1] < lower_left[1]
    assert lower_left[0] == pytest.approx(upper_left[0])
    # The near end's depth from its height, then its place beside the straight road.
    forward_m = camera.focal_v_px * HEIGHT_M / (lower_left[1] - upper_left[1])
    foot_px = lower_left[1] + camera.focal_v_px * BOTTOM_M / forward_m
    assert foot_px == pytest.approx(camera.horizon_v_px + camera.focal_v_px * camera.height_m / forward_m, abs=0.5)
    width_px = float(np.linalg.norm(upper_right - upper_left))
    assert width_px == pytest.approx(camera.focal_u_px * WIDTH_M / forward_m, rel=0.15)
    if abs(env.road.curvature_at(110.0)) < 1e-4:
        left_m = (camera.horizon_u_px - lower_left[0]) / camera.focal_u_px * forward_m
        assert left_m == pytest.approx(edge_m - BESIDE_M, abs=0.3)


def test_poster_changes_its_boards_alone(poster):
    for seed in (1012, 1003, 1001):
        env, frame, info = at(seed, poster=str(poster))
        _, plain, plain_info = at(seed)
        sign = info["class_map"] == SurfaceClass.SIGN
        covered = np.zeros(frame.shape[:2], np.uint8)
        for board in boards(env):
            cv2.fillConvexPoly(covered, np.round(board.corners_px).astype(np.int32), 1)
        near = cv2.dilate(covered, np.ones((3, 3))) > 0
        assert sign[covered > 0].mean() > 0.8
        np.testing.assert_array_equal(frame[~near], plain[~near])
        np.testing.assert_array_equal(info["class_map"][~near], plain_info["class_map"][~near])
        assert not info["lane_mask"][sign].any()


def test_poster_with_gradients_is_the_one_that_the_world_draws(poster):
    picture = to_tensor(read_poster(poster)).float() / 255.0
    for seed in (1012, 1009):
        env, seen, _ = at(seed, poster=str(poster))
        _, plain, _ = at(seed)
        made = printed_into(picture, [Place(plain, torch.zeros(1), _boards(env))])[0].movedim(0, -1).numpy() * 255
        differs = (seen != plain).any(-1)
        assert differs.sum() > 100
        assert np.abs(made - seen)[differs].mean() < 20  # edges are softer in one of them
        assert np.abs(made - seen)[~differs].mean() < 1
    ink = picture.clone().requires_grad_()
    printed_into(ink, [Place(plain, torch.zeros(1), _boards(env))]).sum().backward()
    assert (ink.grad.abs() > 0).float().mean() > 0.5


def test_poster_is_found_that_pushes_to_the_side_asked_for():
    policy = build_policy(PolicyConfig("lstm"), 3).eval()
    places = []
    for seed in (1012, 1009, 1003, 1001):
        env, plain, _ = at(seed)
        places.append(Place(plain, policy.initial_state(1)[0], _boards(env)))
    for side in (LEFT, RIGHT):
        picture, pushes = optimise(policy, places, side, n_steps=12)
        assert picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert np.mean(pushes[-3:]) > max(pushes[0], 0.0)
        again, _ = optimise(policy, places, side, n_steps=12)
        np.testing.assert_array_equal(picture, again)
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_poster_that_is_no_picture_is_one_line(tmp_path):
    (tmp_path / "p.png").write_text("no picture")
    for name in ("p.png", "missing.png"):
        with pytest.raises(BadInputError, match=name) as error:
            ProceduralEnv(poster=str(tmp_path / name))
        assert "\n" not in str(error.value)
