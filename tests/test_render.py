import copy
import dataclasses

import numpy as np
import pytest

from sim.camera import Camera
from sim.render import CAMERA_FORWARD_M, COLUMN_STEP_PX, Renderer
from sim.road import Road, Segment, random_road, road_from_segments
from sim.scene import HALF_WIDTH_M, N_D, N_S, TEXEL_D_M, TEXEL_S_M, CrossSection, draw_scene

CAMERA = Camera()
NEAR_M = 60.0
STRAIGHT = road_from_segments([Segment(400.0, 0.0, 0.0)])
LEFT_ARC = road_from_segments(
    [Segment(40.0, 0.0, 0.0), Segment(100.0, 1 / 80, 1 / 80), Segment(200.0, 0.0, 0.0)]
)
RIGHT_ARC = road_from_segments(
    [Segment(40.0, 0.0, 0.0), Segment(100.0, -1 / 80, -1 / 80), Segment(200.0, 0.0, 0.0)]
)


@pytest.fixture(scope="module")
def scene():
    section = CrossSection(lane_width_m=3.4, left_edge_m=5.6, right_edge_m=-2.3)
    return dataclasses.replace(draw_scene(np.random.default_rng(5)), section=section)


@pytest.fixture(scope="module")
def renderer(scene):
    return Renderer(CAMERA, scene)


def pose(
    road: Road, s_m: float, offset_m: float = 0.0, heading_rad: float = 0.0
) -> tuple[float, float, float, float]:
    """Arguments of the renderer for a car beside the centre line: s, x, y, heading."""
    x_m, y_m, heading = road.pose_at(s_m)
    return s_m, x_m - offset_m * np.sin(heading), y_m + offset_m * np.cos(heading), heading + heading_rad


def edge_columns(road: Road, d_m: float, where: tuple[float, float, float, float]) -> np.ndarray:
    """Column at which a line at the lateral position d crosses each image row; NaN where it does not."""
    s_m, x_m, y_m, heading = where
    along = np.arange(s_m - 3.0, min(s_m + 90.0, road.length_m), 0.02)
    turn = np.interp(along, road.s_m, road.heading_rad)
    dx = np.interp(along, road.s_m, road.x_m) - d_m * np.sin(turn) - x_m
    dy = np.interp(along, road.s_m, road.y_m) + d_m * np.cos(turn) - y_m
    forward_m = dx * np.cos(heading) + dy * np.sin(heading) - CAMERA_FORWARD_M
    left_m = dy * np.cos(heading) - dx * np.sin(heading)
    ahead = forward_m > 1.0
    u_px, v_px = CAMERA.project(forward_m[ahead], left_m[ahead])
    rows = np.arange(CAMERA.height_px)
    return np.interp(rows, v_px[::-1], u_px[::-1], left=np.nan, right=np.nan)


def near_rows() -> np.ndarray:
    rows = np.arange(CAMERA.height_px)
    return rows[rows > CAMERA.horizon_v_px + CAMERA.focal_v_px * CAMERA.height_m / NEAR_M]


@pytest.mark.parametrize("road", [STRAIGHT, LEFT_ARC, RIGHT_ARC], ids=["straight", "left", "right"])
@pytest.mark.parametrize(
    ("s_m", "offset_m", "heading_rad"), [(30.0, 0.0, 0.0), (50.0, 1.1, -0.05), (70.0, -0.8, 0.08)]
)
def test_render_mask_ends_where_the_projected_road_edges_are(
    renderer, scene, road, s_m, offset_m, heading_rad
):
    where = pose(road, s_m, offset_m, heading_rad)
    mask = renderer.draw(road, *where)[1]
    left_px = edge_columns(road, scene.section.left_edge_m, where)
    right_px = edge_columns(road, scene.section.right_edge_m, where)
    columns = np.arange(CAMERA.width_px)
    n_edges = 0
    for v in near_rows():
        assert np.isfinite([left_px[v], right_px[v]]).all()
        inside = (columns > left_px[v] + 1) & (columns < right_px[v] - 1)
        outside = (columns < left_px[v] - 1) | (columns > right_px[v] + 1)
        assert mask[v, inside].all()
        assert not mask[v, outside].any()
        n_edges += (0 < left_px[v] < columns[-1]) + (0 < right_px[v] < columns[-1])
    assert n_edges > 25  # enough edges stand in the picture for this to say something


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_render_road_coordinates_are_those_of_the_nearest_point_of_the_centre_line(renderer, seed):
    road = random_road(np.random.default_rng(seed), 420.0)
    v, u = np.meshgrid(near_rows(), np.arange(3, CAMERA.width_px, 7), indexing="ij")
    forward_m, left_m = CAMERA.unproject(u, v)
    for s_m, offset_m, heading_rad in ((30.0, 0.4, 0.03), (120.0, -1.2, -0.05), (260.0, 0.9, 0.08)):
        where = pose(road, s_m, offset_m, heading_rad)
        _, x_m, y_m, heading = where
        s, d = renderer.road_coordinates(road, *where)
        s, d = (
            grid[v - (CAMERA.height_px - len(grid)), u] for grid in (s, d)
        )  # the grids are the lowest rows
        ahead_m = forward_m + CAMERA_FORWARD_M
        x = x_m + ahead_m * np.cos(heading) - left_m * np.sin(heading)
        y = y_m + ahead_m * np.sin(heading) + left_m * np.cos(heading)
        along = np.arange(s_m - 8.0, min(s_m + 120.0, road.length_m), 0.1)
        cx, cy, turn = (np.interp(along, road.s_m, line) for line in (road.x_m, road.y_m, road.heading_rad))
        nearest = ((x[..., None] - cx) ** 2 + (y[..., None] - cy) ** 2).argmin(-1)
        dx, dy, turn = x - cx[nearest], y - cy[nearest], turn[nearest]
        true_s, true_d = (
            along[nearest] + dx * np.cos(turn) + dy * np.sin(turn),
            dy * np.cos(turn) - dx * np.sin(turn),
        )
        close = np.abs(true_d) < 8.0
        assert close.sum() > 300
        pixel_m = forward_m / CAMERA.focal_u_px
        assert (np.abs(d - true_d) / pixel_m)[close].max() < 0.5
        assert np.abs(s - true_s)[close].max() < 0.25


@pytest.mark.parametrize("radius_m", [30.0, -45.0])
def test_render_road_coordinates_in_a_curve_are_those_of_the_circle(renderer, radius_m):
    road = road_from_segments([Segment(80.0, 1 / radius_m, 1 / radius_m)])
    where = pose(road, 10.0, 0.3, 0.05)
    _, x_m, y_m, heading = where
    s, d = renderer.road_coordinates(road, *where)
    rows, columns = np.arange(40, 78), np.arange(0, CAMERA.width_px, COLUMN_STEP_PX)  # nearer than 15 m
    v, u = np.meshgrid(rows, columns, indexing="ij")
    forward_m, left_m = CAMERA.unproject(u, v)
    x = x_m + (forward_m + CAMERA_FORWARD_M) * np.cos(heading) - left_m * np.sin(heading)
    y = y_m + (forward_m + CAMERA_FORWARD_M) * np.sin(heading) + left_m * np.cos(heading)
    true_d = radius_m - np.sign(radius_m) * np.hypot(x, y - radius_m)
    true_s = radius_m * np.arctan2(x / radius_m, 1 - y / radius_m)
    close = np.abs(true_d) < 6.0
    s, d = (grid[v - (CAMERA.height_px - len(grid)), u] for grid in (s, d))
    np.testing.assert_allclose(d[close], true_d[close], atol=0.005)
    np.testing.assert_allclose(s[close], true_s[close], atol=0.03)


def test_render_mask_agrees_with_the_picture(scene):
    # Paint the pavement red and the rest green: the two can then be told apart in the picture itself.
    d_m = HALF_WIDTH_M - (np.arange(N_D) + 0.5) * TEXEL_D_M
    paved = (d_m < scene.section.left_edge_m) & (d_m > scene.section.right_edge_m)
    ground = np.zeros((N_D, N_S, 3), np.float32)
    ground[paved, :, 0] = ground[~paved, :, 1] = 1.0
    painted = Renderer(CAMERA, dataclasses.replace(scene, ground=ground, visibility_m=np.inf))
    for road, s_m, offset_m, heading_rad in ((STRAIGHT, 50.0, 0.7, 0.04), (LEFT_ARC, 60.0, -0.5, 0.0)):
        picture, mask = painted.draw(road, *pose(road, s_m, offset_m, heading_rad))
        rows = near_rows()
        assert np.mean((picture[rows, :, 0] > picture[rows, :, 1]) == mask[rows]) > 0.99


def test_render_haze_fades_the_ground_exponentially_with_its_distance(scene):
    colour, horizon = np.array([0.8, 0.5, 0.1], np.float32), np.array([0.4, 0.6, 0.9], np.float32)
    ground = np.broadcast_to(colour, (N_D, N_S, 3)).copy()
    plain = dataclasses.replace(scene, ground=ground, sky=(scene.sky[0], horizon), visibility_m=50.0)
    picture = Renderer(CAMERA, plain).draw(STRAIGHT, *pose(STRAIGHT, 40.0))[0]
    rows = near_rows()
    clear = np.exp(-CAMERA.unproject(0.0, rows)[0] / 50.0)[:, None, None]
    np.testing.assert_allclose(
        picture[rows],
        np.broadcast_to(255 * (clear * colour + (1 - clear) * horizon), picture[rows].shape),
        atol=2.5,
    )


def test_render_mask_stays_below_the_horizon_and_covers_the_lane_ahead(renderer):
    mask = renderer.draw(STRAIGHT, *pose(STRAIGHT, 30.0))[1]
    assert not mask[: int(CAMERA.horizon_v_px) + 1].any()
    assert mask[40:, 95:105].all()
    assert not mask[40, 0]


def test_render_has_the_declared_shapes_and_draws_the_same_twice(renderer):
    where = pose(LEFT_ARC, 45.0, 0.3, 0.02)
    first, second = renderer.draw(LEFT_ARC, *where), renderer.draw(LEFT_ARC, *where)
    assert (first[0].shape, first[0].dtype) == ((78, 200, 3), np.uint8)
    assert (first[1].shape, first[1].dtype) == ((78, 200), np.bool_)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_render_leaves_road_and_scene_as_they_were(scene):
    road, look = copy.deepcopy(LEFT_ARC), copy.deepcopy(scene)
    Renderer(CAMERA, look).draw(road, *pose(road, 45.0))
    for before, after in ((LEFT_ARC, road), (scene, look)):
        for field in dataclasses.fields(before):
            np.testing.assert_array_equal(getattr(before, field.name), getattr(after, field.name))


def test_render_of_the_mirrored_world_is_the_mirrored_picture(renderer, scene):
    section = CrossSection(3.4, -scene.section.right_edge_m, -scene.section.left_edge_m)
    mirrored = Renderer(CAMERA, dataclasses.replace(scene, section=section, ground=scene.ground[::-1]))
    s_m, x_m, y_m, heading = pose(LEFT_ARC, 50.0, 0.6, -0.05)
    picture, mask = renderer.draw(LEFT_ARC, s_m, x_m, y_m, heading)
    other_picture, other_mask = mirrored.draw(RIGHT_ARC, s_m, x_m, -y_m, -heading)
    rows = near_rows()
    assert np.mean(other_mask[:, ::-1] == mask) > 0.998
    difference = other_picture[rows, ::-1].astype(int) - picture[rows]
    assert np.abs(difference).mean() < 1.0


def test_render_look_changes_the_picture_and_not_the_mask(renderer, scene):
    other = dataclasses.replace(draw_scene(np.random.default_rng(6)), section=scene.section)
    where = pose(LEFT_ARC, 50.0, 0.6, -0.05)
    (picture, mask), (other_picture, other_mask) = (
        r.draw(LEFT_ARC, *where) for r in (renderer, Renderer(CAMERA, other))
    )
    np.testing.assert_array_equal(mask, other_mask)
    assert np.abs(picture.astype(int) - other_picture).mean() > 5


def test_render_of_a_larger_camera_sees_the_same_ground(renderer, scene):
    large = Renderer(CAMERA.resized(3 * CAMERA.height_px, 3 * CAMERA.width_px), scene)
    for road, s_m in ((STRAIGHT, 40.0), (RIGHT_ARC, 55.0)):
        where = pose(road, s_m, 0.5, 0.05)
        picture, mask = renderer.draw(road, *where)
        large_picture, large_mask = large.draw(road, *where)
        assert large_picture.shape == (234, 600, 3)
        rows = near_rows()  # the middle of every 3 x 3 block is the same ray
        assert np.mean(large_mask[1::3, 1::3] == mask) > 0.99
        blocks = large_picture.reshape(78, 3, 200, 3, 3).mean((1, 3))
        assert np.abs(blocks - picture)[rows].mean() < 6


def test_render_ground_repeats_with_the_period_of_its_texture(renderer):
    period_m = N_S * TEXEL_S_M
    rows = near_rows()
    here, later, between = (
        renderer.draw(STRAIGHT, *pose(STRAIGHT, s_m))[0][rows].astype(int)
        for s_m in (40.0, 40.0 + period_m, 47.0)
    )
    assert np.abs(later - here).mean() < 0.5
    assert np.abs(between - here).mean() > 1.0  # the ground moves under the car


def test_render_turning_left_moves_the_scenery_to_the_right(renderer):
    shift_px = 12
    turned = renderer.draw(STRAIGHT, *pose(STRAIGHT, 40.0, heading_rad=shift_px / CAMERA.focal_u_px))[0]
    ahead = renderer.draw(STRAIGHT, *pose(STRAIGHT, 40.0))[0]
    sky = slice(0, int(CAMERA.horizon_v_px))
    np.testing.assert_array_equal(turned[sky, shift_px:], ahead[sky, :-shift_px])


def test_render_draws_on_at_both_ends_of_the_road(renderer):
    road = road_from_segments([Segment(150.0, 0.0, 0.004)])
    for s_m in (0.0, 149.0):
        picture, mask = renderer.draw(road, *pose(road, s_m))
        assert mask[60:, 95:105].all()
        assert picture.std() > 5


@pytest.mark.parametrize("seed", range(6))
def test_render_scene_is_within_its_ranges(seed):
    drawn = draw_scene(np.random.default_rng(seed))
    again = draw_scene(np.random.default_rng(seed))
    section = drawn.section
    assert section.right_edge_m < -section.lane_width_m / 2 < section.lane_width_m / 2 < section.left_edge_m
    assert max(section.left_edge_m, -section.right_edge_m) < HALF_WIDTH_M
    assert (drawn.ground.shape, drawn.ground.dtype) == ((N_D, N_S, 3), np.float32)
    assert 0 <= drawn.ground.min() < drawn.ground.max() <= 1
    assert np.isfinite(drawn.ridges).all()
    assert 70 <= drawn.visibility_m <= 600
    np.testing.assert_array_equal(drawn.ground, again.ground)
    assert drawn.visibility_m == again.visibility_m
