import dataclasses

import av
import numpy as np
import pytest
from PIL import Image

from driving.models.wiring import paper_wiring
from driving.video import Panel, Result, VideoWriter, closing_card, compose, save_frame, writer_for
from sim.errors import BadInputError

HEIGHT, WIDTH = 48, 64
WORDS = {"heading": "Two networks", "subtitle": "bright = looked at", "condition": "clean picture", "time_s": 1.5}


def _frames(n_frames):
    rng = np.random.default_rng(n_frames)
    return rng.integers(0, 256, (n_frames, 1, 1, 3), dtype=np.uint8).repeat(HEIGHT, 1).repeat(WIDTH, 2)


def _write(path, frames, fps=20.0):
    with VideoWriter(path, fps=fps, height=HEIGHT, width=WIDTH) as video:
        for frame in frames:
            video.write(frame)


def _panel(**changes):
    rng = np.random.default_rng(3)
    panel = Panel(
        title="19 liquid neurons (LTC)",
        picture=rng.integers(0, 256, (78, 200, 3), dtype=np.uint8),
        attention=rng.random((78, 200)),
        curvature_per_m=0.004,
        max_curvature_per_m=0.03,
        on_road_share=0.4,
        untrained_on_road_share=0.3,
        lateral_offset_m=0.2,
        lane_half_width_m=1.75,
        neurons=rng.uniform(-1, 1, 19),
        wiring=paper_wiring(),
    )
    return dataclasses.replace(panel, **changes)


def _changed_columns(one, other):
    return np.flatnonzero((one != other).any(axis=(0, 2)))


def test_video_file_is_browser_h264_with_every_frame(tmp_path):
    path = tmp_path / "new" / "folder" / "drive.mp4"
    _write(path, _frames(7), fps=12.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.codec_context.height, stream.codec_context.width) == (HEIGHT, WIDTH)
        assert stream.average_rate == 12.5
        assert len(list(container.decode(video=0))) == 7


def test_video_keeps_colours_and_order(tmp_path):
    path, frames = tmp_path / "drive.mp4", _frames(5)
    _write(path, frames)
    with av.open(str(path)) as container:
        for shown, frame in zip(container.decode(video=0), frames, strict=True):
            assert (shown.colorspace, shown.color_range) == (1, 1)  # BT.709, limited: what the file says
            rgb = shown.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
            np.testing.assert_allclose(rgb[::9, ::7].astype(int), frame[::9, ::7].astype(int), atol=6)


def test_video_index_stands_before_the_pictures(tmp_path):
    path = tmp_path / "drive.mp4"
    _write(path, _frames(3))
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_video_interrupted_leaves_nothing_behind(tmp_path, error):
    def drive():
        with VideoWriter(tmp_path / "drive.mp4", fps=20, height=HEIGHT, width=WIDTH) as video:
            video.write(_frames(1)[0])
            raise error

    with pytest.raises(error):
        drive()
    assert list(tmp_path.iterdir()) == []


def test_video_interrupted_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "drive.mp4"
    _write(path, _frames(4))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="uint8"):
        _write(path, [_frames(1)[0, :-2]])
    assert [file.name for file in tmp_path.iterdir()] == ["drive.mp4"]
    assert path.read_bytes() == before
    _write(path, _frames(2))
    assert path.read_bytes() != before


def test_video_without_a_frame_is_rejected(tmp_path):
    with pytest.raises(BadInputError, match="at least one frame"):
        _write(tmp_path / "drive.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_video_folder_that_cannot_be_written_is_rejected(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInputError, match=r"^[^\n]*: cannot be written [^\n]*$"):
        _write(tmp_path / "file" / "drive.mp4", _frames(1))


def test_video_path_that_is_a_folder_is_rejected(tmp_path):
    (tmp_path / "drive.mp4").mkdir()
    with pytest.raises(BadInputError, match="cannot be written"):
        _write(tmp_path / "drive.mp4", _frames(1))
    assert [file.name for file in tmp_path.iterdir()] == ["drive.mp4"]


def test_video_disk_that_is_full_is_told_in_one_line(tmp_path, monkeypatch):
    def drive():
        with VideoWriter(tmp_path / "drive.mp4", fps=20, height=HEIGHT, width=WIDTH) as video:
            video.write(_frames(1)[0])
            monkeypatch.setattr(video, "_stream", _FullDisk())
            video.write(_frames(1)[0])

    with pytest.raises(BadInputError, match=r"^[^\n]*: cannot be written \(No space left[^\n]*$"):
        drive()
    assert list(tmp_path.iterdir()) == []


class _FullDisk:
    def encode(self, picture):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("wrong", [{"height": 47}, {"width": 0}, {"fps": 0}, {"fps": float("nan")}])
def test_video_size_or_rate_that_cannot_be_stored_is_rejected(tmp_path, wrong):
    with pytest.raises(BadInputError, match="expected"):
        VideoWriter(tmp_path / "drive.mp4", **({"fps": 20, "height": HEIGHT, "width": WIDTH} | wrong))


def test_compose_is_one_frame_for_the_video():
    frame = compose([_panel(), _panel(neurons=np.zeros(64), wiring=None)], **WORDS)
    assert (frame.shape, frame.dtype) == ((720, 1280, 3), np.uint8)


def test_compose_changes_no_argument_and_repeats_itself():
    panel = _panel()
    picture, attention = panel.picture.copy(), panel.attention.copy()
    first = compose([panel, panel], **WORDS)
    np.testing.assert_array_equal(first, compose([panel, panel], **WORDS))
    np.testing.assert_array_equal(panel.picture, picture)
    np.testing.assert_array_equal(panel.attention, attention)


def test_compose_differs_only_where_the_attention_differs():
    attention = np.zeros((78, 200))
    dark = compose([_panel(), _panel(attention=attention)], **WORDS)
    spot = attention.copy()
    spot[30:40, 50:70] = 1.0
    lit = compose([_panel(), _panel(attention=spot)], **WORDS)
    rows, columns = np.nonzero((dark != lit).any(axis=2))
    # The right picture begins at column 656, row 136, and is three times as large as the map.
    assert columns.min() >= 656 + 3 * 50 - 3
    assert columns.max() <= 656 + 3 * 70 + 3
    assert rows.min() >= 136 + 3 * 30 - 3
    assert rows.max() <= 136 + 3 * 40 + 3
    assert lit[136 + 105, 656 + 180].sum() > dark[136 + 105, 656 + 180].sum()


def test_compose_arc_fills_to_the_side_of_the_turn():
    accent = np.array([84, 208, 216])

    def filled(curvature_per_m):
        frame = compose([_panel(curvature_per_m=curvature_per_m), _panel()], **WORDS)
        # The strip of the left steering card above the wheel's rim, where the arc lies.
        return np.flatnonzero((frame[448:462, 24:190] == accent).all(axis=2).any(axis=0)) + 24

    middle = 107.5
    left, right = filled(0.006), filled(-0.006)
    assert left.size
    assert left.max() <= middle + 1
    assert right.size
    assert right.min() >= middle - 1


def test_compose_wheel_turns_counter_clockwise_for_left():
    frame_left = compose([_panel(curvature_per_m=0.0135), _panel()], **WORDS)  # 45 degrees
    frame_right = compose([_panel(curvature_per_m=-0.0135), _panel()], **WORDS)
    rim = slice(450, 590), slice(50, 166)
    # Turned by 45 degrees either way, one wheel is the mirror of the other.
    left, right = (np.abs(f[rim].astype(int) - 200).max(axis=2) < 30 for f in (frame_left, frame_right))
    assert (left != right).mean() > 0.02
    assert min((np.roll(left[:, ::-1], shift, 1) != right).mean() for shift in (-1, 0, 1)) < 0.012


def test_compose_moves_the_car_to_the_side_of_its_offset():
    centre, left, right = (
        compose([_panel(lateral_offset_m=offset_m), _panel()], **WORDS)[560:645] for offset_m in (0.0, 0.8, -0.8)
    )
    middle = 303
    assert _changed_columns(centre, left).mean() < middle < _changed_columns(centre, right).mean()


def test_compose_shows_a_crash_in_red():
    driving = compose([_panel(), _panel()], **WORDS)
    crashed = compose([_panel(), _panel(crashed=True, status="left the lane at 12.3 s")], **WORDS)
    assert _changed_columns(driving, crashed).min() >= 640
    red = crashed[137, 700].astype(int)
    assert red[0] > 200 > 2 * red[1]


def test_compose_activity_follows_the_states():
    low, high = (compose([_panel(neurons=np.full(19, v)), _panel()], **WORDS) for v in (-1.0, 1.0))
    changed = (low != high).any(axis=2)
    assert changed[:, 415:624].any()
    assert not changed[:, :415].any()
    assert not changed[:, 624:].any()


@pytest.mark.parametrize(
    "absent",
    [
        {"on_road_share": None, "untrained_on_road_share": None},
        {"lateral_offset_m": None},
        {"lane_half_width_m": None},
        {"neurons": None, "wiring": None},
        {"neurons": None, "wiring": None, "on_road_share": None, "lateral_offset_m": float("nan")},
        {"on_road_share": float("nan")},
        {"attention": np.full((5, 9), np.nan)},
        {"reference_curvature_per_m": -0.5},
        {"curvature_per_m": 9.0, "lateral_offset_m": -40.0, "title": "a long title " * 20},
    ],
)
@pytest.mark.parametrize("n_panels", [1, 2])
def test_compose_without_optional_or_with_extreme_fields_stays_whole(absent, n_panels):
    frame = compose([_panel(**absent)] * n_panels, road_area_share=0.41, noisy=True, **WORDS)
    assert frame.shape == (720, 1280, 3)
    margin = np.array([14, 17, 23])
    for strip in (frame[:, :20], frame[:, -20:], frame[:8], frame[-8:], frame[674:686]):
        assert (strip == margin).all()


def test_compose_cuts_long_words_before_the_badge():
    words = WORDS | {"heading": "word " * 60, "subtitle": "word " * 90}
    frame = compose([_panel(), _panel()], **words)
    badge_left = np.flatnonzero((compose([_panel(), _panel()], **WORDS)[16:50] != [14, 17, 23]).any(axis=(0, 2)))
    badge_left = badge_left[badge_left > 640].min()
    assert (frame[:90, badge_left - 12 : badge_left - 2] == [14, 17, 23]).all()


@pytest.mark.parametrize("n_panels", [0, 5])
def test_compose_rejects_another_number_of_panels(n_panels):
    with pytest.raises(ValueError, match="one to four"):
        compose([_panel()] * n_panels, **WORDS)


@pytest.mark.parametrize("wrong", [{"neurons": np.zeros(7)}, {"neurons": None}, {"max_curvature_per_m": 0.0}], ids=str)
def test_panel_rejects_what_cannot_be_drawn(wrong):
    with pytest.raises(ValueError, match=r"must"):
        _panel(**wrong)


@pytest.mark.parametrize("n_panels", [1, 2, 3, 4])
def test_compose_gives_every_network_a_panel_of_its_own(n_panels):
    panels = [_panel(title=f"network {i}") for i in range(n_panels)]
    before = compose(panels, **WORDS)
    width = before.shape[1] / n_panels
    for i in range(n_panels):
        changed = [
            *panels[:i],
            _panel(title=f"network {i}", picture=np.zeros((78, 200, 3), np.uint8)),
            *panels[i + 1 :],
        ]
        columns = _changed_columns(before, compose(changed, **WORDS))
        assert len(columns) > 100
        assert width * i - 20 <= columns.min()
        assert columns.max() <= width * (i + 1) + 20


def test_compose_outlines_the_road_and_rings_the_neurons():
    mask = np.zeros((78, 200), bool)
    mask[40:, 30:150] = True
    plain = compose([_panel()], **WORDS)
    outlined = compose([_panel(road_mask=mask)], **WORDS)
    assert 200 < (plain != outlined).any(-1).sum() < 5000  # a line, not an area
    short, long = (compose([_panel(time_constants_s=np.full(19, tau))], **WORDS) for tau in (0.005, 1.0))
    assert (short != long).any(-1).sum() > 400


def result(**changes):
    values = {
        "title": "19 liquid neurons (LTC)", "on_road_share": 0.7, "low": 0.6, "high": 0.8,
        "untrained_on_road_share": 0.1, "road_area_share": 0.4, "similarity": 0.5, "mean_abs_offset_m": 0.12,
        "status": "20 s in its lane", "crashed": False,
    }  # fmt: skip
    return Result(**(values | changes))


def test_closing_card_shows_each_figure_and_does_without():
    one = closing_card([result()], "What came out", "a road")
    assert one.shape == (720, 1280, 3)
    for name, value in (("on_road_share", 0.5), ("low", 0.3), ("road_area_share", 0.2), ("similarity", 0.9),
                        ("untrained_on_road_share", 0.3), ("mean_abs_offset_m", 0.5), ("status", "left")):  # fmt: skip
        assert (closing_card([result(**{name: value})], "What came out", "a road") != one).any(), name
    nothing = dict.fromkeys(
        ("on_road_share", "low", "high", "untrained_on_road_share", "road_area_share", "similarity",
         "mean_abs_offset_m")
    )  # fmt: skip
    closing_card([result(**nothing)] * 4, "What came out", "")


@pytest.mark.parametrize("suffix", ["webp", "gif"])
def test_animation_plays_as_long_as_the_video_at_half_the_rate(tmp_path, suffix):
    path = tmp_path / f"look.{suffix}"
    with writer_for(path, 20.0, HEIGHT, WIDTH) as video:
        for frame in _frames(9):
            video.write(frame)
    with Image.open(path) as picture:
        assert picture.n_frames == 5
        assert picture.size == (WIDTH, HEIGHT)
        picture.seek(1)
        picture.load()
        assert picture.info["duration"] == 100
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_animation_interrupted_or_empty_leaves_nothing(tmp_path):
    with pytest.raises(BadInputError, match="at least one frame"), writer_for(tmp_path / "a.gif", 20, 4, 4):
        pass

    def stop():
        with writer_for(tmp_path / "a.gif", 20, HEIGHT, WIDTH) as video:
            video.write(_frames(1)[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop()
    with pytest.raises(ValueError, match="a frame must be"), writer_for(tmp_path / "a.gif", 20, 4, 4) as video:
        video.write(_frames(1)[0])
    assert list(tmp_path.iterdir()) == []
    assert isinstance(writer_for(tmp_path / "a.mp4", 20, HEIGHT, WIDTH), VideoWriter)


def test_video_frame_is_saved_as_a_picture(tmp_path):
    frames = _frames(6)
    _write(tmp_path / "v.mp4", frames, fps=10.0)
    for at_s, k in ((0.0, 0), (0.3, 3), (60.0, 5)):
        save_frame(tmp_path / "v.mp4", at_s, tmp_path / "f.png")
        shown = np.asarray(Image.open(tmp_path / "f.png")).astype(int)
        np.testing.assert_allclose(shown[::9, ::7], frames[k][::9, ::7].astype(int), atol=6)
