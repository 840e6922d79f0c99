"""Drawing of the objects: projection by hand, depth order, crests, haze, movement, classes, lamps."""

import dataclasses

import numpy as np
import pytest

from sim.appearance.atmosphere import Atmosphere
from sim.appearance.section import CrossSection
from sim.camera import Camera
from sim.families import FAMILIES
from sim.road import Segment, road_from_segments
from sim.roadside.objects import FAR_M, ObjectRenderer
from sim.roadside.sprites import KINDS, indices
from sim.roadside.stretches import Barrier, Roadside, RoadsideStretches
from sim.seasons import SEASONS
from sim.surface_class import SurfaceClass
from sim.weathers import WEATHERS
from tests.ground_points import ground_profile

CAMERA = Camera()
LARGE = CAMERA.resized(234, 600)
ROAD = road_from_segments([Segment(400.0, 0.0, 0.0)])
CURVE = road_from_segments([Segment(60.0, 0.0, 0.0), Segment(200.0, 0.012, 0.012)])
AIR = Atmosphere(
    season=SEASONS["summer"],
    weather=WEATHERS["clear"],
    light=np.ones(3, np.float32),
    zenith=np.array([0.3, 0.5, 0.9], np.float32),
    horizon=np.array([0.7, 0.6, 0.5], np.float32),
    visibility_m=1e9,
    sun_bearing_rad=None,
    wetness=0.0,
    snow_cover=0.0,
    has_shadows=False,
    headlights=False,
    darkness=0.0,
)
NIGHT = dataclasses.replace(AIR, weather=WEATHERS["night"], darkness=0.9, headlights=True)
GREY = 90


def roadside_of(*things, barriers=()) -> Roadside:
    """Things are (kind, variant, along, lateral, size or None, speed)."""
    rows = []
    for kind, variant, along, lateral, size, speed in sorted(things, key=lambda thing: thing[2]):
        width, height = size or KINDS[kind].sizes_m[variant]
        index, surface = indices(kind, "summer")[variant], KINDS[kind].surface_class
        rows.append((along, lateral, speed, width, height, index, surface))
    table = np.array(rows, float).reshape(-1, 7).T
    return Roadside(*table[:5], table[5].astype(int), table[6].astype(np.uint8), tuple(barriers))


def flat(camera=CAMERA):
    distances = np.geomspace(1.5, 120.0, 48)
    return ground_profile(camera, distances, np.zeros(48))


def drawn(roadside, camera=CAMERA, air=AIR, road=ROAD, s_m=50.0, offset_m=0.0, heading=0.0, time_s=0.0, profile=None):
    """Picture and class map of one frame over plain grey ground."""
    picture = np.full((camera.height_px, camera.width_px, 3), GREY, np.uint8)
    classes = np.full(picture.shape[:2], SurfaceClass.VERGE, np.uint8)
    x, y, turn = road.pose_at(s_m)
    renderer = ObjectRenderer(camera, roadside, air)
    pose = (x - offset_m * np.sin(turn), y + offset_m * np.cos(turn), turn + heading)
    renderer.draw(picture, classes, profile or flat(camera), road, s_m, *pose, time_s)
    return picture, classes


def extent(mask):
    rows, columns = np.nonzero(mask)
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize(("ahead", "lateral"), [(8.0, -2.0), (15.0, 3.0), (30.0, -4.0)])
@pytest.mark.parametrize("camera", [CAMERA, LARGE], ids=["small", "large"])
def test_object_renderer_draws_a_post_where_the_pinhole_camera_sees_it(ahead, lateral, camera):
    height = 2.0
    roadside = roadside_of(("delineator", 0, 50.0 + ahead, lateral, (5.0, height), 0.0))
    width = 0.64 * 5.0  # the post takes up the middle of its picture
    _, classes = drawn(roadside, camera)
    top, bottom, left, right = extent(classes == SurfaceClass.POST)
    middle_u, base_v = camera.project(ahead, lateral)
    scale_u, scale_v = camera.focal_u_px / ahead, camera.focal_v_px / ahead
    # A pixel counts where its middle is covered.
    assert bottom == pytest.approx(base_v, abs=1.0)
    assert top == pytest.approx(base_v - height * scale_v, abs=1.5 + 0.02 * height * scale_v)
    assert 0.5 * (left + right) == pytest.approx(middle_u, abs=1.0)
    assert right - left == pytest.approx(width * scale_u, abs=1.5 + 0.06 * width * scale_u)


def test_object_renderer_stands_a_car_on_the_ground_in_its_lane():
    roadside = roadside_of(("car", 0, 62.0, 3.5, None, 0.0))
    _, classes = drawn(roadside, LARGE)
    _, bottom, left, right = extent(classes == SurfaceClass.VEHICLE)
    # Its nearest wheels are between its middle and its near end.
    length, width = KINDS["car"].lengths_m[0], KINDS["car"].sizes_m[0][0]
    rows = [LARGE.project(distance, 0.0)[1] for distance in (12.0, 12.0 - 0.5 * length)]
    assert rows[0] < bottom < rows[1]
    side = [LARGE.project(12.0, 3.5 + share * width)[0] for share in (0.5, -0.5)]
    assert left == pytest.approx(side[0], abs=0.5 * length * 0.3 * LARGE.focal_u_px / 12.0 + 2)
    assert left < 0.5 * (side[0] + side[1]) < right


@pytest.mark.parametrize("lateral", [-5.0, 6.0])
def test_object_renderer_draws_a_front_in_perspective_between_its_two_ends(lateral):
    length, height = 12.0, 8.0
    roadside = roadside_of(("stone_wall", 0, 72.0, lateral, (length, height), 0.0))
    _, classes = drawn(roadside, LARGE)
    wall = classes == SurfaceClass.BARRIER
    ends = [(72.0 + share * length - 50.0) for share in (-0.5, 0.5)]
    columns = [LARGE.project(distance, lateral)[0] for distance in ends]
    _, _, left, right = extent(wall)
    assert left == pytest.approx(max(min(columns), 0), abs=1.5)
    assert right == pytest.approx(min(max(columns), 599), abs=1.5)
    for distance in np.linspace(ends[0] + 0.5, ends[1] - 0.5, 7):
        u, base = LARGE.project(distance, lateral)
        if not 2 < u < 597:
            continue
        rows = np.flatnonzero(wall[:, round(float(u))])
        slack = 2.0 + 0.02 * height * LARGE.focal_v_px / distance
        assert rows.max() == pytest.approx(min(base, 233), abs=slack)
        assert rows.min() == pytest.approx(max(base - height * LARGE.focal_v_px / distance, 0), abs=slack)
        assert len(rows) == rows.max() - rows.min() + 1


def test_object_renderer_draws_what_passes_the_lens_up_to_the_edge():
    roadside = roadside_of(("stone_wall", 0, 50.0, 4.0, (40.0, 1.0), 0.0))
    _, classes = drawn(roadside)
    wall = classes == SurfaceClass.BARRIER
    assert wall[:, 0].any()
    assert extent(wall)[3] == pytest.approx(CAMERA.project(20.0, 4.0)[0], abs=1.5)
    assert not wall[:, 110:].any()


@pytest.mark.parametrize(("ahead", "lateral"), [(10.0, -3.0), (25.0, 4.0)])
def test_object_renderer_draws_a_rail_between_its_two_heights(ahead, lateral):
    barrier = Barrier(0.0, 300.0, lateral, 0.4, 0.8, (0.9, 0.9, 0.9), 0.0)
    picture, classes = drawn(roadside_of(barriers=[barrier]), LARGE)
    u, base = LARGE.project(ahead, lateral)
    rows = np.flatnonzero(classes[:, round(float(u))] == SurfaceClass.BARRIER)
    scale = LARGE.focal_v_px / ahead
    assert rows.min() == pytest.approx(base - 0.8 * scale, abs=1.6)
    assert rows.max() == pytest.approx(base - 0.4 * scale, abs=1.6)
    assert picture[rows[1], round(float(u))].min() > 180


def test_object_renderer_sets_darker_posts_under_a_rail():
    plain = Barrier(0.0, 300.0, -3.0, 0.5, 0.8, (0.9, 0.9, 0.9), 0.0)
    _, without = drawn(roadside_of(barriers=[plain]), LARGE)
    picture, posts = drawn(roadside_of(barriers=[dataclasses.replace(plain, post_spacing_m=4.0)]), LARGE)
    more = (posts == SurfaceClass.BARRIER) & (without != SurfaceClass.BARRIER)
    assert more.any()
    u, base = LARGE.project(60.0 - 50.0, -3.0)  # there is a post every 4 m
    assert more[round(float(base)) - 3, round(float(u))]
    assert picture[round(float(base)) - 3, round(float(u))].max() < 160


def test_object_renderer_lets_the_near_hide_the_far():
    far, near = ("conifer", 0, 75.0, -2.5, (6.0, 8.0), 0.0), ("chevron", 0, 60.0, -2.0, (2.0, 1.6), 0.0)
    picture, classes = drawn(roadside_of(far, near))
    alone, only = drawn(roadside_of(near))
    behind = drawn(roadside_of(far))[1] == SurfaceClass.VEGETATION
    sign = only == SurfaceClass.SIGN
    assert (sign & behind).sum() > 20
    assert (classes[sign] == SurfaceClass.SIGN).all()
    assert (classes[behind & ~sign] == SurfaceClass.VEGETATION).all()
    middle = sign & (np.abs(alone.astype(int) - GREY).max(axis=2) > 40)
    difference = np.abs(picture.astype(int) - alone)[middle]
    assert np.median(difference) == 0


def test_object_renderer_sorts_rails_among_the_pictures():
    rail = Barrier(0.0, 300.0, -4.0, 0.0, 1.0, (0.9, 0.1, 0.1), 0.0)
    for lateral, in_front in ((-3.0, True), (-5.0, False)):
        _, classes = drawn(roadside_of(("chevron", 0, 61.0, lateral, (1.5, 1.5), 0.0), barriers=[rail]), LARGE)
        u, base = LARGE.project(11.0, lateral)
        seen = classes[round(float(base)) - 4, round(float(u))]
        assert (seen == SurfaceClass.SIGN) == in_front


def test_object_renderer_hides_what_stands_behind_a_crest():
    distances = np.geomspace(1.5, 120.0, 200)
    heights = np.interp(distances, [0, 15, 20, 25, 120], [0, 0, 0.6, 0, -12.0])
    profile = ground_profile(CAMERA, distances, heights)
    tree = ("conifer", 0, 50.0 + 40.0, 1.0, (3.0, 6.0), 0.0)
    picture, classes = drawn(roadside_of(tree), profile=profile)
    crest = float(np.interp(40.0, profile.forward_m, profile.crest_px))
    rows = np.flatnonzero((classes == SurfaceClass.VEGETATION).any(axis=1))
    base = CAMERA.horizon_v_px + CAMERA.focal_v_px * (CAMERA.height_m - np.interp(40.0, distances, heights)) / 40.0
    assert base > crest + 3  # its foot is hidden
    assert rows.max() == pytest.approx(crest, abs=1.0)
    assert (picture[int(np.ceil(crest + 0.5)) :] == GREY).all()
    before = drawn(roadside_of(("conifer", 0, 62.0, 1.0, (3.0, 6.0), 0.0)), profile=profile)[1]
    rows = np.flatnonzero((before == SurfaceClass.VEGETATION).any(axis=1))
    assert rows.max() == pytest.approx(CAMERA.project(12.0, 0.0)[1], abs=1.5)  # in front of it nothing is


@pytest.mark.parametrize("kind", ["rail", "stone_wall"])
def test_object_renderer_hides_what_runs_behind_a_crest(kind):
    distances = np.geomspace(1.5, 120.0, 200)
    profile = ground_profile(CAMERA, distances, np.interp(distances, [0, 15, 20, 25, 120], [0, 0, 0.9, 0, -9.0]))
    if kind == "rail":
        roadside = roadside_of(barriers=[Barrier(85.0, 140.0, -3.0, 0.0, 0.8, (0.9, 0.9, 0.9), 4.0)])
    else:
        roadside = roadside_of(("stone_wall", 0, 96.0, -3.0, (12.0, 0.8), 0.0))
    picture, classes = drawn(roadside, profile=profile)
    assert (classes == SurfaceClass.VERGE).all()
    assert np.mean(picture != GREY) < 0.002


def test_object_renderer_moves_traffic_by_its_speed():
    moving = roadside_of(("car", 3, 90.0, 3.5, None, -12.0))
    standing = roadside_of(("car", 3, 72.0, 3.5, None, 0.0))  # on the left it faces the viewer as well
    for a, b in zip(drawn(moving, time_s=1.5), drawn(standing), strict=True):
        np.testing.assert_array_equal(a, b)
    away = roadside_of(("car", 3, 60.0, -3.5, None, 8.0))
    same = roadside_of(("car", 3, 76.0, -3.5, None, 0.0))
    for a, b in zip(drawn(away, time_s=2.0), drawn(same), strict=True):
        np.testing.assert_array_equal(a, b)


def test_object_renderer_keeps_traffic_coming():
    car = roadside_of(("car", 3, 60.0, 3.5, None, -10.0))
    round_trip_s = ROAD.length_m / 10.0
    for a, b in zip(drawn(car), drawn(car, time_s=round_trip_s), strict=True):
        np.testing.assert_allclose(a, b, atol=2)
    assert not (drawn(car, time_s=3.0)[1] == SurfaceClass.VEHICLE).any()


@pytest.mark.parametrize("kind", KINDS)
def test_object_renderer_marks_the_pixels_of_every_kind(kind):
    size = (4.0, 3.0) if KINDS[kind].sizes_m[0][1] == 1.0 else None
    lateral = -9.0 if kind in ("house", "barn", "town_front") else -3.5
    picture, classes = drawn(roadside_of((kind, 0, 66.0, lateral, size, 0.0)), LARGE)
    own = classes == KINDS[kind].surface_class
    assert own.sum() > 30
    assert set(np.unique(classes)) == {int(SurfaceClass.VERGE), int(KINDS[kind].surface_class)}
    changed = np.abs(picture.astype(int) - GREY).max(axis=2) > 0
    assert (changed[own]).mean() > 0.9
    rows, columns = np.nonzero(changed)
    top, bottom, left, right = extent(own)
    reach = 14  # soft edges and the shadow on the ground
    assert rows.min() >= top - reach
    assert rows.max() <= bottom + reach
    assert columns.min() >= left - 3 * reach
    assert columns.max() <= right + 3 * reach


def test_object_renderer_haze_takes_everything_in_the_end():
    thick = dataclasses.replace(AIR, visibility_m=0.5)
    picture, classes = drawn(roadside_of(("rock", 0, 75.0, -4.0, None, 0.0)), air=thick)
    inside = classes == SurfaceClass.BARRIER
    inside[1:] &= inside[:-1].copy()
    deep = inside & np.roll(inside, -4, axis=0) & np.roll(inside, 4, axis=0)
    np.testing.assert_allclose(picture[deep], np.broadcast_to(255 * AIR.horizon, (deep.sum(), 3)), atol=3)


def test_object_renderer_haze_mixes_exponentially_with_distance():
    colour, visibility = np.array([0.8, 0.2, 0.1]), 40.0
    air = dataclasses.replace(AIR, visibility_m=visibility)
    wall = Barrier(50.0, 150.0, -4.0, 0.0, 3.0, tuple(colour), 0.0)
    picture, _ = drawn(roadside_of(barriers=[wall]), air=air)
    sign = roadside_of(("board", 3, 70.0, -4.0, None, 0.0))
    clear, hazy = (drawn(sign, LARGE, air=a)[0] for a in (AIR, air))
    for ahead in (12.0, 20.0, 40.0):
        u, base = CAMERA.project(ahead, -4.0)
        share = np.exp(-ahead / visibility)
        expected = 255 * (share * colour + (1 - share) * air.horizon)
        pixel = picture[round(float(base - 1.5 * CAMERA.focal_v_px / ahead)), round(float(u))]
        np.testing.assert_allclose(pixel, expected, atol=22)  # a quad has one depth and its own shade
    u, v = (int(c) for c in LARGE.project(20.0, -4.0))
    row, share = round(v - 1.75 * LARGE.focal_v_px / 20.0), np.exp(-20.0 / visibility)
    expected = share * clear[row, u - 12].astype(float) + (1 - share) * 255 * air.horizon
    np.testing.assert_allclose(hazy[row, u - 12], expected, atol=6)


def test_object_renderer_light_tints_what_it_falls_on():
    sign = roadside_of(("board", 2, 62.0, -3.0, None, 0.0))
    half = dataclasses.replace(AIR, light=np.array([0.5, 0.25, 1.0], np.float32))
    full, dim = (drawn(sign, LARGE, air=air) for air in (AIR, half))
    np.testing.assert_array_equal(full[1], dim[1])
    solid = (full[1] == SurfaceClass.SIGN) & (full[0].min(axis=2) > 225)
    assert solid.sum() > 100
    ratio = dim[0][solid].astype(float) / full[0][solid]
    np.testing.assert_allclose(np.median(ratio, axis=0), [0.5, 0.25, 1.0], atol=0.02)


def test_object_renderer_fades_things_in_before_they_are_drawn_fully():
    tree = [roadside_of(("conifer", 1, 50.0 + f, 0.0, (8.0, 16.0), 0.0)) for f in (80.0, 91.0, 97.0, FAR_M + 1)]
    pictures = [drawn(roadside, LARGE)[0].astype(int) for roadside in tree]
    strength = [np.abs(picture - GREY).max() for picture in pictures]
    assert strength[0] > strength[1] > strength[2] > strength[3] == 0


def test_object_renderer_leaves_out_what_is_behind_or_touches_the_lens():
    things = [("leafy", 0, along, 0.5, (8.0, 10.0), 0.0) for along in (20.0, 49.9, 50.0, 51.2)]
    picture, classes = drawn(roadside_of(*things))
    assert (picture == GREY).all()
    assert (classes == SurfaceClass.VERGE).all()


def test_object_renderer_crops_very_tall_near_things():
    picture, classes = drawn(roadside_of(("conifer", 0, 52.0, -1.0, (20.0, 40.0), 0.0)))
    assert (classes == SurfaceClass.VEGETATION).mean() > 0.2
    assert picture.shape == (78, 200, 3)


def test_object_renderer_leaves_out_what_would_stand_on_another_part_of_the_road():
    bend = road_from_segments([Segment(40.0, 0.0, 0.0), Segment(94.0, 1 / 30.0, 1 / 30.0), Segment(60.0, 0.0, 0.0)])
    free = roadside_of(("leafy", 0, 80.0, -8.0, (5.0, 7.0), 0.0))
    # After half a turn the road comes back 60 m to the left of where it went.
    blocked = roadside_of(("leafy", 0, 25.0, 60.0, (5.0, 7.0), 0.0))
    counts = []
    for roadside, s_m in ((free, 62.0), (blocked, 2.0)):
        _, classes = drawn(roadside, road=bend, s_m=s_m, heading=0.0 if roadside is free else 1.1)
        counts.append((classes == SurfaceClass.VEGETATION).sum())
    assert counts[0] > 0
    assert counts[1] == 0


def test_object_renderer_draws_nothing_of_an_empty_roadside():
    picture, classes = drawn(roadside_of())
    assert (picture == GREY).all()
    assert (classes == SurfaceClass.VERGE).all()


def test_object_renderer_moves_things_right_when_the_car_turns_or_moves_left():
    sign = roadside_of(("round_sign", 0, 65.0, -2.0, None, 0.0))
    ahead, turned, shifted = (
        extent(drawn(sign, heading=heading, offset_m=offset)[1] == SurfaceClass.SIGN)[2]
        for heading, offset in ((0.0, 0.0), (0.1, 0.0), (0.0, 1.0))
    )
    assert turned - ahead == pytest.approx(0.1 * CAMERA.focal_u_px, abs=2)
    assert shifted - ahead == pytest.approx(CAMERA.focal_u_px / 15.0, abs=1.5)


@pytest.mark.parametrize("seed", range(3))
def test_object_renderer_draws_the_same_twice_and_the_same_at_three_times_the_size(seed):
    section = CrossSection(3.4, 5.6, -2.2, oncoming_m=(3.4,))
    roadside = RoadsideStretches(
        np.random.default_rng(seed), FAMILIES["country"].roadside, SEASONS["summer"], section, 400.0
    )
    for road, s_m in ((ROAD, 120.0), (CURVE, 70.0)):
        first, again = (drawn(roadside, road=road, s_m=s_m, time_s=4.0) for _ in range(2))
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a, b)
        large = drawn(roadside, LARGE, road=road, s_m=s_m, time_s=4.0)
        assert np.mean(large[1][1::3, 1::3] == first[1]) > 0.95
        blocks = large[0].reshape(78, 3, 200, 3, 3).mean((1, 3))
        assert np.abs(blocks - first[0]).mean() < 6


def test_object_renderer_uses_one_renderer_for_many_frames_as_for_one():
    section = CrossSection(3.4, 5.6, -2.2, oncoming_m=(3.4,))
    roadside = RoadsideStretches(
        np.random.default_rng(5), FAMILIES["urban"].roadside, SEASONS["summer"], section, 400.0
    )
    renderer = ObjectRenderer(CAMERA, roadside, AIR)
    for s_m in (30.0, 31.0, 90.0, 30.0):
        picture = np.full((78, 200, 3), GREY, np.uint8)
        classes = np.full((78, 200), SurfaceClass.VERGE, np.uint8)
        renderer.draw(picture, classes, flat(), ROAD, s_m, s_m, 0.0, 0.0, 2.0)
        fresh = drawn(roadside, s_m=s_m, time_s=2.0)
        np.testing.assert_array_equal(picture, fresh[0])
        np.testing.assert_array_equal(classes, fresh[1])


def lights(roadside, air, camera=LARGE):
    renderer = ObjectRenderer(camera, roadside, air)
    picture = np.full((camera.height_px, camera.width_px, 3), 10, np.uint8)
    classes = np.full(picture.shape[:2], SurfaceClass.VERGE, np.uint8)
    renderer.draw(picture, classes, flat(camera), ROAD, 50.0, 50.0, 0.0, 0.0, 0.0)
    before = picture.copy()
    renderer.draw_lights(picture)
    return picture.astype(int) - before


def test_object_renderer_lamps_shine_in_the_dark_only():
    car = roadside_of(("car", 1, 75.0, 3.5, None, -10.0))
    assert (lights(car, AIR) == 0).all()
    glow = lights(car, NIGHT)
    assert (glow >= 0).all()
    assert glow.max() > 100
    u, v = LARGE.project(25.0, 3.5)
    rows, columns = np.nonzero(glow.max(axis=2) > 60)
    assert abs(columns.mean() - u) < 6
    assert v - 1.2 * LARGE.focal_v_px / 25.0 < rows.mean() < v


def test_object_renderer_lamps_behind_something_do_not_shine():
    car, post = ("car", 1, 75.0, 1.0, None, -10.0), ("delineator", 0, 60.0, 0.4, (8.0, 3.0), 0.0)
    assert lights(roadside_of(car), NIGHT).max() > 100
    assert lights(roadside_of(car, post), NIGHT).max() == 0


def test_object_renderer_windows_are_lit_at_night():
    front = roadside_of(("town_front", 0, 70.0, -7.0, None, 0.0))
    glow = lights(front, NIGHT)
    assert (glow.max(axis=2) > 40).sum() > 20
    assert glow[..., 0].sum() > glow[..., 2].sum()
