import dataclasses
import json

import numpy as np
import pytest

from sim.camera import Camera
from sim.drive import Drive, DriveMeta, VehicleFacts, load, save
from sim.errors import BadInputError

META = DriveMeta("a test, café", "CC0", VehicleFacts("cart", wheelbase_m=1.5), notes="")


def make_drive(n_rows=7, height_px=39, width_px=51, masks="some", speed=True):
    """Smooth colours: red grows to the right, green downwards, blue from row to row."""
    rng = np.random.default_rng(5)
    frames = np.zeros((n_rows, height_px, width_px, 3), np.uint8)
    frames[..., 0] = np.linspace(10, 240, width_px)
    frames[..., 1] = np.linspace(20, 200, height_px)[:, None]
    frames[..., 2] = (30 * np.arange(n_rows) % 250)[:, None, None]
    known = np.arange(n_rows) % 3 == 0
    road_masks = rng.random((n_rows, height_px, width_px)) < 0.4
    if masks == "some":
        road_masks[~known] = False
    return Drive(
        frames,
        1.6e9 + np.cumsum(rng.uniform(0.04, 0.06, n_rows)),
        rng.uniform(-0.1, 0.1, n_rows).astype(np.float32),
        Camera(height_px, width_px, 33.3, 35.1, 25.2, 11.7, 1.23),
        META,
        speed_mps=rng.uniform(0, 20, n_rows).astype(np.float32) if speed else None,
        road_masks=None if masks == "none" else road_masks,
        road_mask_known=known if masks == "some" else None,
    )


def psnr_db(a, b):
    return 10 * np.log10(255.0**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def assert_same_table(got, expected):
    for field in ("timestamps_s", "curvature_per_m", "speed_mps", "road_masks", "road_mask_known"):
        a, b = getattr(got, field), getattr(expected, field)
        assert (a is None) == (b is None), field
        if a is not None:
            np.testing.assert_array_equal(a, b, err_msg=field)
            assert a.dtype == b.dtype
    assert (got.camera, got.meta) == (expected.camera, expected.meta)


@pytest.mark.parametrize(
    ("n_rows", "height_px", "width_px", "masks", "speed"),
    [(7, 39, 51, "some", True), (1, 40, 50, "all", False), (2, 17, 33, "none", True), (45, 16, 20, "all", True)],
)
def test_drive_load_undoes_save(tmp_path, n_rows, height_px, width_px, masks, speed):
    drive = make_drive(n_rows, height_px, width_px, masks, speed)
    save(drive, tmp_path / "new" / "drive")
    back = load(tmp_path / "new" / "drive")
    assert_same_table(back, drive)
    assert back.frames.shape == drive.frames.shape
    assert min(psnr_db(a, b) for a, b in zip(back.frames, drive.frames, strict=True)) > 36
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["drive"]


def test_a_stretch_without_any_of_its_drives_masks_can_be_saved(tmp_path):
    stretch = make_drive(n_rows=9, masks="some").rows(1, 3)
    assert len(stretch.mask_rows()) == 0
    save(stretch, tmp_path / "d")
    assert_same_table(load(tmp_path / "d"), stretch)


def test_drive_load_rows_is_the_cut_of_the_whole(tmp_path):
    drive = make_drive(n_rows=9)
    save(drive, tmp_path / "d")
    part, whole = load(tmp_path / "d", slice(2, 6)), load(tmp_path / "d")
    assert_same_table(part, drive.rows(2, 6))
    np.testing.assert_array_equal(part.frames, whole.frames[2:6])
    assert len(load(tmp_path / "d", slice(None, 3))) == 3
    with pytest.raises(BadInputError, match="rows 2:10 asked for, it has rows 0:9"):
        load(tmp_path / "d", slice(2, 10))


def test_drive_rows_keeps_frame_k_at_row_k():
    drive = make_drive(n_rows=9)
    part = drive.rows(3, 8)
    np.testing.assert_array_equal(part.frames[4], drive.frames[7])
    assert part.curvature_per_m[4] == drive.curvature_per_m[7]
    np.testing.assert_array_equal(drive.mask_rows(), [0, 3, 6])
    np.testing.assert_array_equal(part.mask_rows(), [0, 3])
    with pytest.raises(BadInputError, match="rows 4:4"):
        drive.rows(4, 4)


def test_drive_segments_and_dt_by_hand():
    times_s = np.array([0.0, 0.1, 0.2, 0.4, 0.5, 5.0, 5.1, 9.0])
    drive = dataclasses.replace(make_drive(n_rows=8), timestamps_s=times_s)
    assert drive.segments() == [slice(0, 5), slice(5, 7), slice(7, 8)]
    np.testing.assert_allclose(drive.dt_s(), [0.1, 0.1, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1])


def test_drive_of_one_row_has_one_segment_and_a_time_step():
    drive = make_drive(n_rows=1)
    assert drive.segments() == [slice(0, 1)]
    np.testing.assert_allclose(drive.dt_s(), [0.05])


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("timestamps_s", lambda a: a[:-1], r"timestamps_s must be float64 \(7,\), got float64 \(6,\)"),
        ("timestamps_s", lambda a: a[[0, 1, 2, 2, 4, 5, 6]], "row 3: timestamp .* later than"),
        ("timestamps_s", lambda a: a[[0, 2, 1, 3, 4, 5, 6]], "row 2: timestamp .* later than"),
        ("curvature_per_m", lambda a: a.astype(np.float64), "curvature_per_m must be float32"),
        ("curvature_per_m", lambda a: np.where(np.arange(7) == 4, np.float32(np.nan), a), "row 4: curvature_per_m"),
        ("curvature_per_m", lambda a: np.where(np.arange(7) == 5, np.float32(-11), a), "row 5: .curvature. must"),
        ("speed_mps", lambda a: np.where(np.arange(7) == 1, np.float32(np.inf), a), "row 1: speed_mps"),
        ("frames", lambda a: a.astype(np.float32), "frames must be uint8"),
        ("frames", lambda a: a[:0], "no rows"),
        ("frames", lambda a: a[:, 1:], "camera is 39x51, frames are 38x51"),
        ("road_masks", lambda a: a[:, :, 1:], "road_masks must be bool"),
        ("road_masks", lambda a: None, "road_mask_known is given without road_masks"),
    ],
)
def test_drive_rejects_what_cannot_be(field, change, message):
    drive = make_drive()
    with pytest.raises(BadInputError, match=message) as caught:
        dataclasses.replace(drive, **{field: change(getattr(drive, field))})
    assert "\n" not in str(caught.value)


def test_drive_save_replaces_only_a_drive_and_only_when_told(tmp_path):
    first, second = make_drive(n_rows=3), make_drive(n_rows=5)
    save(first, tmp_path / "d")
    with pytest.raises(BadInputError, match="there is a drive already"):
        save(second, tmp_path / "d")
    assert len(load(tmp_path / "d")) == 3
    save(second, tmp_path / "d", overwrite=True)
    assert len(load(tmp_path / "d")) == 5
    (tmp_path / "d" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInputError, match="something else than a drive"):
        save(first, tmp_path / "d", overwrite=True)
    assert (tmp_path / "d" / "thesis.txt").read_text() == "mine"


def test_drive_save_uses_an_empty_folder_and_refuses_a_file_in_the_way(tmp_path):
    (tmp_path / "empty").mkdir()
    save(make_drive(n_rows=2), tmp_path / "empty")
    assert len(load(tmp_path / "empty")) == 2
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInputError, match="something else"):
        save(make_drive(n_rows=2), tmp_path / "file")
    with pytest.raises(BadInputError, match="cannot be written"):
        save(make_drive(n_rows=2), tmp_path / "file" / "below")


def test_drive_save_leaves_nothing_behind_when_it_fails(tmp_path, monkeypatch):
    save(make_drive(n_rows=3), tmp_path / "d")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sim.drive.write_table", full)
    with pytest.raises(BadInputError, match="No space left"):
        save(make_drive(n_rows=5), tmp_path / "d", overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["d"]
    assert len(load(tmp_path / "d")) == 3


def edit_table(folder, change):
    path = folder / "table.csv"
    path.write_text(change(path.read_text()))


def edit_facts(folder, change):
    path = folder / "drive.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def set_field(text, row, column, value):
    lines = text.splitlines()
    fields = lines[row + 1].split(",")
    fields[column] = value
    return "\n".join([*lines[: row + 1], ",".join(fields), *lines[row + 2 :]]) + "\n"


def cut_file(path, keep):
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def other_video(folder, **shape):
    save(make_drive(masks="none", **shape), folder.parent / "other")
    (folder.parent / "other" / "frames.mp4").replace(folder / "frames.mp4")


BREAK = {
    "no frames.mp4": lambda d: (d / "frames.mp4").unlink(),
    "no table.csv": lambda d: (d / "table.csv").unlink(),
    "no drive.json": lambda d: (d / "drive.json").unlink(),
    "road_masks.npz: missing": lambda d: (d / "road_masks.npz").unlink(),
    "road_masks.npz: cannot be read": lambda d: cut_file(d / "road_masks.npz", 0.5),
    r"rows.npy holds int64 \(3,\), expected int64 \(2,\)": lambda d: edit_facts(d, lambda f: f.update(n_road_masks=2)),
    "frames.mp4: cannot be decoded": lambda d: cut_file(d / "frames.mp4", 0.7),
    "frames.mp4: 6 frames, but its table has 7": lambda d: other_video(d, n_rows=6),
    "frames.mp4: more frames than the 7 rows": lambda d: other_video(d, n_rows=8),
    "frames are 38x52, the camera in drive.json is 39x51": lambda d: other_video(d, height_px=38, width_px=52),
    "table.csv: 6 rows, but drive.json says 7": lambda d: edit_table(d, lambda t: t[: t.rindex("\n", 0, -1) + 1]),
    "missing: curvature_per_m": lambda d: edit_table(d, lambda t: t.replace("curvature_per_m", "angle")),
    "row 2: curvature_per_m must be a finite number, got 'left'": lambda d: edit_table(
        d, lambda t: set_field(t, 2, 1, "left")
    ),
    "row 3: timestamp_s must be a finite number, got 'NaN'": lambda d: edit_table(
        d, lambda t: set_field(t, 3, 0, "NaN")
    ),
    "row 6: speed_mps must be a finite number, got ''": lambda d: edit_table(d, lambda t: set_field(t, 6, 2, "")),
    "row 4: timestamp .* later": lambda d: edit_table(d, lambda t: set_field(t, 4, 0, "1.0")),
    "row 1 has 2 fields, the header has 3": lambda d: edit_table(
        d, lambda t: "\n".join(line.rpartition(",")[0] if k == 2 else line for k, line in enumerate(t.split("\n")))
    ),
    "a header but no rows": lambda d: edit_table(d, lambda t: t.split("\n")[0] + "\n"),
    "table.csv: needs the columns": lambda d: edit_table(d, lambda t: ""),
    "format must be 2, got 3": lambda d: edit_facts(d, lambda f: f.update(format=3)),
    "drive.json: is not JSON": lambda d: cut_file(d / "drive.json", 0.5),
    "n_frames must be a whole number": lambda d: edit_facts(d, lambda f: f.update(n_frames="7")),
    "camera must have the keys": lambda d: edit_facts(d, lambda f: f["camera"].pop("height_m")),
    "camera: .*height_m": lambda d: edit_facts(d, lambda f: f["camera"].update(height_m=-1)),
    "vehicle: wheelbase_m must be": lambda d: edit_facts(d, lambda f: f["meta"]["vehicle"].update(wheelbase_m=0)),
    "meta must have the keys": lambda d: edit_facts(d, lambda f: f["meta"].update(colour="red")),
}


@pytest.mark.parametrize("message", BREAK)
def test_drive_load_names_the_fault_in_one_line(tmp_path, message):
    save(make_drive(), tmp_path / "d")
    BREAK[message](tmp_path / "d")
    with pytest.raises(BadInputError, match=message) as caught:
        load(tmp_path / "d")
    assert str(tmp_path / "d") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_drive_load_rejects_a_folder_that_is_missing_or_empty(tmp_path):
    with pytest.raises(BadInputError, match="no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(BadInputError, match=r"has no drive\.json, so it is not a drive"):
        load(tmp_path)
