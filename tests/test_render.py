import copy
import dataclasses

import numpy as np
import pytest

from sim.appearance.atmosphere import draw_atmosphere
from sim.appearance.ground_atlas import PERIOD_M
from sim.appearance.scene import Scene, draw_scene
from sim.appearance.section import CrossSection
from sim.appearance.surface import HALF_WIDTH_M, N_D, N_S, TEXEL_D_M
from sim.camera import Camera
from sim.families import FAMILIES
from sim.procedural_env import ProceduralEnv
from sim.render import CAMERA_FORWARD_M, COLUMN_STEP_PX, Renderer, View
from sim.road import Road, Segment, random_road, road_from_segments
from sim.seasons import SEASONS
from sim.surface_class import SurfaceClass
from sim.weathers import WEATHERS
from tests.ground_points import unproject
from tests.painted_ground import PaintedGround
from tests.painted_ground import painted as painted_ground

CAMERA = Camera()
NEAR_M = 60.0
STRAIGHT = road_from_segments([Segment(400.0, 0.0, 0.0)])
LEFT_ARC = road_from_segments([Segment(40.0, 0.0, 0.0), Segment(100.0, 1 / 80, 1 / 80), Segment(200.0, 0.0, 0.0)])
RIGHT_ARC = road_from_segments([Segment(40.0, 0.0, 0.0), Segment(100.0, -1 / 80, -1 / 80), Segment(200.0, 0.0, 0.0)])


AIR = draw_atmosphere(np.random.default_rng(5), SEASONS["summer"], WEATHERS["clear"])
CLEAR_AIR = dataclasses.replace(AIR, visibility_m=np.inf, sun_bearing_rad=None, wetness=0.0)


def renderer_of(scene: Scene, camera: Camera = CAMERA) -> Renderer:
    return Renderer(camera, scene, None, np.random.default_rng(0))


def painted(scene: Scene, paved: tuple, beside: tuple, **changes) -> Scene:
    """The same section in two flat colours, one tile."""
    d_m = HALF_WIDTH_M - (np.arange(N_D) + 0.5) * TEXEL_D_M
    inside = (d_m < scene.section.left_edge_m) & (d_m > scene.section.right_edge_m)
    ground = np.empty((1, N_D, N_S, 3), np.uint8)
    ground[:, inside], ground[:, ~inside] = paved, beside
    surface = np.where(inside, SurfaceClass.ROAD, SurfaceClass.VERGE).astype(np.uint8)
    surface = np.repeat(surface[None, :, None], N_S, axis=2)
    return dataclasses.replace(scene, ground=PaintedGround(ground, surface), **changes)


@pytest.fixture(scope="module")
def scene():
    """Red road on green ground under a clear sky."""
    section = CrossSection(lane_width_m=3.4, left_edge_m=5.6, right_edge_m=-2.3)
    drawn = dataclasses.replace(draw_scene(np.random.default_rng(5), FAMILIES["country"], CLEAR_AIR), section=section)
    return painted(drawn, (200, 30, 30), (30, 200, 30))


@pytest.fixture(scope="module")
def renderer(scene):
    return renderer_of(scene)


@pytest.fixture(scope="module")
def textured(scene):
    """A drawn look on the same section."""
    drawn = draw_scene(np.random.default_rng(5), FAMILIES["country"], CLEAR_AIR)
    ground = painted_ground(drawn.ground)
    return dataclasses.replace(drawn, ground=PaintedGround(ground.colours, ground.classes))


def hilly(length_m: float = 400.0, height_m: float = 3.0, wave_m: float = 90.0) -> Road:
    """A straight road over sine waves."""
    road = road_from_segments([Segment(length_m, 0.0, 0.0)])
    phase = 2 * np.pi * road.s_m / wave_m
    z_m = height_m * (1 - np.cos(phase)) / 2
    return dataclasses.replace(road, z_m=z_m, grade=np.pi * height_m / wave_m * np.sin(phase))


def pose(road: Road, s_m: float, offset_m: float = 0.0, heading_rad: float = 0.0) -> tuple[float, float, float, float]:
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


def road_coordinates(renderer: Renderer, road: Road, where: tuple) -> tuple[np.ndarray, np.ndarray]:
    """(s, d) of every pixel on flat ground; rows above the near ones are NaN."""
    ahead = renderer._ahead(road, *where)
    grids = np.full((2, CAMERA.height_px, CAMERA.width_px), np.nan)
    forward_m = unproject(CAMERA, 0.0, near_rows())[0].astype(np.float32)
    grids[:, near_rows()] = renderer.road_coordinates(ahead, forward_m)
    return grids[0], grids[1]


def near_rows() -> np.ndarray:
    rows = np.arange(CAMERA.height_px)
    return rows[rows > CAMERA.horizon_v_px + CAMERA.focal_v_px * CAMERA.height_m / NEAR_M]


@pytest.mark.parametrize("road", [STRAIGHT, LEFT_ARC, RIGHT_ARC], ids=["straight", "left", "right"])
@pytest.mark.parametrize(("s_m", "offset_m", "heading_rad"), [(30.0, 0.0, 0.0), (50.0, 1.1, -0.05), (70.0, -0.8, 0.08)])
def test_render_mask_ends_where_the_projected_road_edges_are(renderer, scene, road, s_m, offset_m, heading_rad):
    where = pose(road, s_m, offset_m, heading_rad)
    mask = renderer.draw(road, *where).road_mask
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
    forward_m, left_m = unproject(CAMERA, u, v)
    for s_m, offset_m, heading_rad in ((30.0, 0.4, 0.03), (120.0, -1.2, -0.05), (260.0, 0.9, 0.08)):
        where = pose(road, s_m, offset_m, heading_rad)
        _, x_m, y_m, heading = where
        s, d = road_coordinates(renderer, road, where)
        s, d = s[v, u], d[v, u]
        ahead_m = forward_m + CAMERA_FORWARD_M
        x = x_m + ahead_m * np.cos(heading) - left_m * np.sin(heading)
        y = y_m + ahead_m * np.sin(heading) + left_m * np.cos(heading)
        along = np.arange(s_m - 8.0, min(s_m + 120.0, road.length_m), 0.1)
        cx, cy, turn = (np.interp(along, road.s_m, line) for line in (road.x_m, road.y_m, road.heading_rad))
        nearest = ((x[..., None] - cx) ** 2 + (y[..., None] - cy) ** 2).argmin(-1)
        dx, dy, turn = x - cx[nearest], y - cy[nearest], turn[nearest]
        true_s, true_d = (along[nearest] + dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn))
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
    s, d = road_coordinates(renderer, road, where)
    rows, columns = np.arange(40, 78), np.arange(0, CAMERA.width_px, COLUMN_STEP_PX)  # nearer than 15 m
    v, u = np.meshgrid(rows, columns, indexing="ij")
    forward_m, left_m = unproject(CAMERA, u, v)
    x = x_m + (forward_m + CAMERA_FORWARD_M) * np.cos(heading) - left_m * np.sin(heading)
    y = y_m + (forward_m + CAMERA_FORWARD_M) * np.sin(heading) + left_m * np.cos(heading)
    true_d = radius_m - np.sign(radius_m) * np.hypot(x, y - radius_m)
    true_s = radius_m * np.arctan2(x / radius_m, 1 - y / radius_m)
    close = np.abs(true_d) < 6.0
    s, d = s[v, u], d[v, u]
    np.testing.assert_allclose(d[close], true_d[close], atol=0.005)
    np.testing.assert_allclose(s[close], true_s[close], atol=0.03)


def test_render_mask_agrees_with_the_picture(renderer):
    for road, s_m, offset_m, heading_rad in ((STRAIGHT, 50.0, 0.7, 0.04), (LEFT_ARC, 60.0, -0.5, 0.0)):
        view = renderer.draw(road, *pose(road, s_m, offset_m, heading_rad))
        rows = near_rows()
        red = view.picture[rows, :, 0] > view.picture[rows, :, 1]
        assert np.mean(red == view.road_mask[rows]) > 0.99


def test_render_own_lane_is_the_part_of_the_road_half_a_width_around_its_middle(renderer, scene):
    where = pose(LEFT_ARC, 50.0, 0.4, 0.02)
    view = renderer.draw(LEFT_ARC, *where)
    _, d = road_coordinates(renderer, LEFT_ARC, where)
    rows = near_rows()
    np.testing.assert_array_equal(view.lane_mask[rows], np.abs(d[rows]) < scene.section.lane_width_m / 2)
    assert not (view.lane_mask & ~view.road_mask).any()
    np.testing.assert_array_equal(view.class_map == SurfaceClass.OWN_LANE, view.lane_mask)  # no markings here


def test_render_class_map_is_that_of_the_ground_seen_at_a_pixels_middle(textured):
    where = pose(STRAIGHT, 41.0, 0.3)
    renderer = renderer_of(textured)
    view = renderer.draw(STRAIGHT, *where)
    s, d = road_coordinates(renderer, STRAIGHT, where)
    rows = near_rows()
    column = (s[rows] % PERIOD_M / 0.1 - 0.5).round().astype(int) % N_S
    row = ((HALF_WIDTH_M - d[rows]) / TEXEL_D_M - 0.5).round().astype(int)
    inside = (row >= 0) & (row < N_D)
    expected = textured.ground.classes[0][np.clip(row, 0, N_D - 1), column]
    seen = view.class_map[rows]
    seen = np.where(seen == SurfaceClass.OWN_LANE, SurfaceClass.ROAD, seen)
    assert (seen[inside] == expected[inside]).mean() > 0.995
    assert (seen == SurfaceClass.MARKING).sum() > 50


@pytest.mark.parametrize("s_m", [10.0, 30.0, 60.0])
def test_render_hills_show_the_nearest_ground_a_ray_meets(s_m):
    section = CrossSection(lane_width_m=3.4, left_edge_m=5.6, right_edge_m=-2.3)
    base = draw_scene(np.random.default_rng(5), FAMILIES["country"], CLEAR_AIR)
    striped = painted(dataclasses.replace(base, section=section), (200, 30, 30), (30, 200, 30))
    road = hilly()
    # Stripes across the road, 9.6 m apart (eight a period), tell the distance of what a row shows.
    stripe = (np.arange(N_S) * 8 // N_S) % 2 == 0
    striped.ground.colours[:, :, stripe] = (20, 20, 220)
    view = renderer_of(striped).draw(road, *pose(road, s_m))
    z_m, grade = road.elevation_at(s_m), road.grade_at(s_m)
    fine_m = np.arange(1.0, 160.0, 0.01)
    height_m = np.interp(s_m + CAMERA_FORWARD_M + fine_m, road.s_m, road.z_m) - z_m
    height_m -= grade * (fine_m + CAMERA_FORWARD_M)
    row_px = CAMERA.horizon_v_px + CAMERA.focal_v_px * (CAMERA.height_m - height_m) / fine_m
    n_right = n_clear = n_hidden = 0
    for v in range(30, CAMERA.height_px):
        first = np.argmax(row_px <= v)
        if row_px[first] > v:  # no ground in this row
            assert (view.class_map[v] <= SurfaceClass.HILLS).all()
            continue
        n_hidden += first > 0 and fine_m[first] - fine_m[np.argmax(row_px <= v + 1)] > 30.0
        at_m = (s_m + CAMERA_FORWARD_M + fine_m[first]) % PERIOD_M / PERIOD_M * 8
        if min(at_m % 1, 1 - at_m % 1) < 0.2 or fine_m[first] > 60:  # too near a stripe's end, or blurred
            continue
        n_clear += 1
        blue = view.picture[v, 100, 2] > view.picture[v, 100, 0]
        n_right += blue == (int(at_m) % 2 == 0)
    assert n_right == n_clear
    assert n_clear > 10
    if s_m == 30.0:  # just over a crest one sees the next one, not the dip between
        assert n_hidden > 0


def test_render_level_ground_of_a_hilly_road_is_flat():
    level = hilly(height_m=0.0)
    scene = painted(draw_scene(np.random.default_rng(5), FAMILIES["country"], CLEAR_AIR), (200, 30, 30), (30, 200, 30))
    drawer = renderer_of(scene)
    np.testing.assert_array_equal(
        drawer.draw(level, *pose(level, 40.0)).picture, drawer.draw(STRAIGHT, *pose(STRAIGHT, 40.0)).picture
    )


def test_render_haze_fades_the_ground_exponentially_with_its_distance(scene):
    colour, horizon = np.array([204, 128, 26]), np.array([0.4, 0.6, 0.9], np.float32)
    air = dataclasses.replace(CLEAR_AIR, horizon=horizon, visibility_m=50.0)
    picture = renderer_of(painted(scene, colour, colour, atmosphere=air)).draw(STRAIGHT, *pose(STRAIGHT, 40.0)).picture
    rows = near_rows()
    clear = np.exp(-unproject(CAMERA, 0.0, rows)[0] / 50.0)[:, None, None]
    np.testing.assert_allclose(
        picture[rows], np.broadcast_to(clear * colour + (1 - clear) * horizon * 255, picture[rows].shape), atol=2.5
    )


def test_render_wet_road_mirrors_the_sky_and_nothing_else_does(scene):
    dry = painted(scene, (40, 40, 40), (60, 90, 50))
    wet = dataclasses.replace(dry, atmosphere=dataclasses.replace(CLEAR_AIR, wetness=1.0))
    where = pose(STRAIGHT, 40.0)
    views = [renderer_of(look).draw(STRAIGHT, *where) for look in (dry, wet)]
    paved = views[0].road_mask
    np.testing.assert_array_equal(paved, views[1].road_mask)
    change = views[1].picture.astype(int) - views[0].picture
    assert not change[~paved].any()
    shine = np.array([change[v][paved[v]].mean() for v in near_rows()])
    sky = shine[10:]  # further away it mirrors the hills
    assert (sky > 0).all()
    assert sky[:5].mean() > 1.2 * sky[-5:].mean()  # more at a flat angle


def test_render_mask_stays_below_the_horizon_and_covers_the_lane_ahead(renderer):
    mask = renderer.draw(STRAIGHT, *pose(STRAIGHT, 30.0)).road_mask
    assert not mask[: int(CAMERA.horizon_v_px) + 1].any()
    assert mask[40:, 95:105].all()
    assert not mask[40, 0]


def parts(view: View) -> tuple[np.ndarray, ...]:
    return view.picture, view.class_map, view.lane_mask, view.road_mask


def test_render_has_the_declared_shapes_and_draws_the_same_twice(renderer):
    where = pose(LEFT_ARC, 45.0, 0.3, 0.02)
    first, second = parts(renderer.draw(LEFT_ARC, *where)), parts(renderer.draw(LEFT_ARC, *where))
    declared = [((78, 200, 3), np.uint8), ((78, 200), np.uint8), ((78, 200), np.bool_), ((78, 200), np.bool_)]
    assert [(array.shape, array.dtype.type) for array in first] == declared
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_render_leaves_road_and_scene_as_they_were(textured):
    road, look = copy.deepcopy(LEFT_ARC), copy.deepcopy(textured)
    renderer_of(look).draw(road, *pose(road, 45.0))
    for before, after in ((LEFT_ARC, road), (textured, look)):
        for field in dataclasses.fields(before):
            a, b = getattr(before, field.name), getattr(after, field.name)
            if field.name == "ground":
                a, b = a.colours, b.colours
            if not dataclasses.is_dataclass(a):
                np.testing.assert_array_equal(a, b)


def test_render_of_the_mirrored_world_is_the_mirrored_picture(renderer, scene):
    section = CrossSection(3.4, -scene.section.right_edge_m, -scene.section.left_edge_m)
    mirrored = dataclasses.replace(
        scene, section=section, ground=PaintedGround(scene.ground.colours[:, ::-1], scene.ground.classes[:, ::-1])
    )
    s_m, x_m, y_m, heading = pose(LEFT_ARC, 50.0, 0.6, -0.05)
    view = renderer.draw(LEFT_ARC, s_m, x_m, y_m, heading)
    other = renderer_of(mirrored).draw(RIGHT_ARC, s_m, x_m, -y_m, -heading)
    rows = near_rows()
    assert np.mean(other.road_mask[:, ::-1] == view.road_mask) > 0.995
    difference = other.picture[rows, ::-1].astype(int) - view.picture[rows]
    assert np.abs(difference).mean() < 1.5


def test_render_of_a_larger_camera_sees_the_same_ground(renderer, scene):
    large = renderer_of(scene, CAMERA.resized(3 * CAMERA.height_px, 3 * CAMERA.width_px))
    for road, s_m in ((STRAIGHT, 40.0), (RIGHT_ARC, 55.0), (hilly(), 30.0)):
        where = pose(road, s_m, 0.5, 0.05)
        view, large_view = renderer.draw(road, *where), large.draw(road, *where)
        assert large_view.picture.shape == (234, 600, 3)
        rows = near_rows()  # the middle of every 3 x 3 block is the same ray
        assert np.mean(large_view.road_mask[1::3, 1::3] == view.road_mask) > 0.99
        blocks = large_view.picture.reshape(78, 3, 200, 3, 3).mean((1, 3))
        assert np.abs(blocks - view.picture)[rows].mean() < 6


def test_render_ground_repeats_with_the_period_of_its_texture(textured):
    renderer, rows = renderer_of(textured), near_rows()
    here, later, between = (
        renderer.draw(STRAIGHT, *pose(STRAIGHT, s_m)).picture[rows].astype(int) for s_m in (40.0, 40.0 + PERIOD_M, 47.0)
    )
    assert np.abs(later - here).mean() < 0.5
    assert np.abs(between - here).mean() > 1.0  # the ground moves under the car


def test_render_tiles_follow_one_another_in_their_order(scene):
    n_tiles = 3
    colours = np.array([(200, 0, 0), (0, 200, 0), (0, 0, 200)], np.uint8)
    ground = np.broadcast_to(colours[:, None, None], (n_tiles, N_D, N_S, 3)).copy()
    tiles = dataclasses.replace(
        scene, ground=PaintedGround(ground, np.repeat(scene.ground.classes, n_tiles, axis=0), [0, 2, 1, 0])
    )
    renderer = renderer_of(tiles)
    for s_m, expected in ((20.0, 0), (90.0, 2), (170.0, 1), (250.0, 0), (20.0 + 4 * PERIOD_M, 0)):
        road = road_from_segments([Segment(600.0, 0.0, 0.0)])
        assert renderer.draw(road, *pose(road, s_m)).picture[70, 100].argmax() == expected
    # The seam stands where one period ends.
    view = renderer.draw(STRAIGHT, *pose(STRAIGHT, 60.0))
    forward_m = unproject(CAMERA, 0.0, near_rows())[0]
    beyond = 60.0 + CAMERA_FORWARD_M + forward_m > PERIOD_M
    np.testing.assert_array_equal(view.picture[near_rows(), 100].argmax(-1) == 2, beyond)


def test_render_turning_left_moves_the_scenery_to_the_right(renderer):
    shift_px = 12
    turned = renderer.draw(STRAIGHT, *pose(STRAIGHT, 40.0, heading_rad=shift_px / CAMERA.focal_u_px)).picture
    ahead = renderer.draw(STRAIGHT, *pose(STRAIGHT, 40.0)).picture
    sky = slice(0, int(CAMERA.horizon_v_px))
    np.testing.assert_array_equal(turned[sky, shift_px:], ahead[sky, :-shift_px])


def test_render_draws_on_at_both_ends_of_the_road(renderer):
    road = road_from_segments([Segment(150.0, 0.0, 0.004)])
    for s_m in (0.0, 149.0):
        view = renderer.draw(road, *pose(road, s_m))
        assert view.road_mask[60:, 95:105].all()
        assert view.picture.std() > 5


def test_render_wet_road_that_fills_the_picture_mirrors_the_horizon_not_what_memory_held():
    """Uphill the ground reaches the upper edge: no row stands above it, and none was drawn yet."""
    env = ProceduralEnv(weather="rain", family="mountain", roadside=False)
    env.reset(seed=2)
    renderer = env._renderer
    n_rows, width = renderer.camera.height_px, renderer.camera.width_px
    s_m, d_m = np.meshgrid(np.linspace(30, 60, width), np.linspace(0.5, -0.5, n_rows))
    coordinates = s_m.astype(np.float32), d_m.astype(np.float32)
    forward_m, footprint_m = np.linspace(60.0, 3.0, n_rows), np.full((2, n_rows), 0.1)
    pictures = []
    for held in (0, 255):
        picture = np.full((n_rows, width, 3), held, np.uint8)
        classes, lane = np.zeros((n_rows, width), np.uint8), np.zeros((n_rows, width), bool)
        renderer._atlas.draw(picture, classes, lane, *coordinates, forward_m, footprint_m)
        pictures.append(picture)
    np.testing.assert_array_equal(*pictures)
    assert env.scene.atmosphere.wetness > 0
