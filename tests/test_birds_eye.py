"""The map: what lies where, by hand, and free of the world's axes."""

import numpy as np
import pytest

from sim.birds_eye import CAR, GAP_PX, LANE, ROAD, TRAIL, VERGE, draw_birds_eye, side_by_side

STRAIGHT = np.column_stack([np.arange(-50.0, 150.0, 0.5), np.zeros(400)])
NO_TRAIL = np.zeros((0, 2))


def colour_at(picture, ahead_m, left_m, ahead_m_shown=45.0, size_m=60.0):
    """The pixel of a place given from the car."""
    px_per_m = picture.shape[0] / size_m
    row, column = (ahead_m_shown - ahead_m) * px_per_m, picture.shape[1] / 2 - left_m * px_per_m
    return tuple(int(c) for c in picture[int(row), int(column)])


def straight_map(trail=NO_TRAIL, pose=(20.0, 0.0, 0.0), **options):
    return draw_birds_eye(STRAIGHT, 5.4, 3.2, 1.75, pose, trail, size_px=240, **options)


def test_birds_eye_shows_surfaces_where_they_are():
    picture = straight_map()
    assert (picture.shape, picture.dtype) == ((240, 240, 3), np.uint8)
    for ahead_m in (-10.0, 12.0, 40.0):
        assert colour_at(picture, ahead_m, 1.0) == LANE
        assert colour_at(picture, ahead_m, -1.0) == LANE
        assert colour_at(picture, ahead_m, 4.0) == ROAD
        assert colour_at(picture, ahead_m, -2.5) == ROAD
        assert colour_at(picture, ahead_m, -4.2) == VERGE
        assert colour_at(picture, ahead_m, 6.3) == VERGE


def test_birds_eye_shows_the_car_to_scale_forward_up():
    picture = straight_map()
    where = (np.abs(picture.astype(int) - CAR) < 90).all(-1)
    rows, columns = np.nonzero(where)
    # 4.5 m x 1.8 m at 4 pixels a metre, its rear axle's middle 45 m below the upper edge.
    assert rows.min() == pytest.approx((45 - 3.6) * 4, abs=1)
    assert rows.max() == pytest.approx((45 + 0.9) * 4, abs=1)
    assert (columns.min(), columns.max()) == (pytest.approx(120 - 3.6, abs=1), pytest.approx(120 + 3.6, abs=1))


def test_birds_eye_shows_offset_and_heading_by_moving_the_world():
    left_of_lane = straight_map(pose=(20.0, 1.0, 0.0))
    assert colour_at(left_of_lane, 30.0, -4.5) == VERGE  # 3.5 m right of the centre
    assert colour_at(left_of_lane, 30.0, -3.5) == ROAD
    turned_left = straight_map(pose=(20.0, 0.0, np.pi / 2))  # the road runs from left to right
    assert colour_at(turned_left, -1.25, -20.0) == LANE
    assert colour_at(turned_left, 1.0, 20.0) == LANE
    assert colour_at(turned_left, 4.0, 20.0) == ROAD
    assert colour_at(turned_left, 20.0, 0.0) == VERGE


def test_birds_eye_is_the_same_wherever_the_world_lies():
    angle, shift = 0.7, np.array([300.0, -40.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    trail = np.column_stack([np.arange(5.0, 20.0), 0.3 * np.sin(np.arange(15.0))])
    here = straight_map(trail, (20.0, 0.4, 0.1))
    x_m, y_m = turn @ (20.0, 0.4) + shift
    there = draw_birds_eye(
        STRAIGHT @ turn.T + shift, 5.4, 3.2, 1.75, (x_m, y_m, 0.1 + angle), trail @ turn.T + shift, size_px=240
    )
    assert np.abs(here.astype(int) - there).mean() < 0.1


def test_birds_eye_shows_the_trail_behind_the_car():
    trail = np.column_stack([np.arange(8.0, 21.0), np.zeros(13)])
    picture = straight_map(trail)
    assert np.abs(np.array(colour_at(picture, -6.0, 0.0)) - TRAIL).max() < 60
    assert colour_at(picture, -14.0, 1.0) == LANE
    assert not np.array_equal(picture, straight_map())
    assert np.array_equal(straight_map(trail[:1]), straight_map())  # one place is no line


def test_birds_eye_takes_widths_along_the_road():
    widening = np.linspace(3.0, 13.0, 400)
    picture = draw_birds_eye(STRAIGHT, widening, 3.0, 1.75, (20.0, 0.0, 0.0), NO_TRAIL, size_px=240)
    # 60 m into the line the road reaches 6 m to the left, 100 m into it 8 m.
    assert colour_at(picture, -10.0, 6.8) == VERGE
    assert colour_at(picture, 30.0, 6.8) == ROAD


def test_birds_eye_centre_line_may_stand_still():
    where = np.sort(np.concatenate([np.arange(len(STRAIGHT)), np.full(30, 140)]))
    picture = draw_birds_eye(STRAIGHT[where], np.full(len(where), 5.4), 3.2, 1.75, (20.0, 0.0, 0.0), NO_TRAIL)
    np.testing.assert_array_equal(picture, draw_birds_eye(STRAIGHT, 5.4, 3.2, 1.75, (20.0, 0.0, 0.0), NO_TRAIL))
    still = draw_birds_eye(STRAIGHT[[140] * 5], 5.4, 3.2, 1.75, (20.0, 0.0, 0.0), NO_TRAIL, size_px=240)
    assert colour_at(still, 20.0, 0.0) == VERGE


def test_birds_eye_road_that_crosses_itself_has_no_holes():
    t = np.linspace(0.0, 2 * np.pi, 400)
    eight = np.column_stack([20 * np.sin(2 * t), 25 * np.sin(t)])  # crosses itself at the origin
    picture = draw_birds_eye(eight, 3.0, 3.0, 1.0, (0.0, -20.0, np.pi / 2), NO_TRAIL, size_px=240)
    around = [colour_at(picture, 20 + a, b) for a in (-0.5, 0.5) for b in (-0.5, 0.5)]
    assert VERGE not in around


def test_birds_eye_leaves_out_what_is_far_away():
    stretch = STRAIGHT + np.array([500.0, 0.0])
    empty = draw_birds_eye(stretch, 5.4, 3.2, 1.75, (0.0, 0.0, 0.0), NO_TRAIL, size_px=240)
    assert colour_at(empty, 20.0, 0.0) == VERGE


@pytest.mark.parametrize("size_px", [120, 234])
def test_birds_eye_stands_right_of_the_camera_picture(size_px):
    camera, picture = np.full((120, 300, 3), 7, np.uint8), straight_map()[:size_px, :size_px]
    both = side_by_side(camera, picture)
    assert both.shape == (120, 300 + GAP_PX + 120, 3)
    assert both.dtype == np.uint8
    np.testing.assert_array_equal(both[:, :300], camera)
    if size_px == 120:
        np.testing.assert_array_equal(both[:, -120:], picture)
