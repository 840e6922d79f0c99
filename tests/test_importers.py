import itertools
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sim.drive import load
from sim.errors import BadInputError
from sim.importers import IMPORTERS, import_drive

DRIVES = Path(__file__).parents[2] / "shared" / "drives"
SIZE = (39, 100)


def recorded(name):
    if not (DRIVES / name).is_dir():
        pytest.skip(f"the recorded drive {DRIVES / name} is not there")
    return DRIVES / name


def picture(height_px, width_px, k):
    """BGR: the left half red, the right half blue, a grey level by row."""
    image = np.full((height_px, width_px, 3), 10 * k + 20, np.uint8)
    image[:, : width_px // 2, 2] = 200
    image[:, width_px // 2 :, 0] = 200
    return image


def write_video(path, n_frames, height_px=480, width_px=640):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.height, stream.width, stream.pix_fmt = height_px, width_px, "yuv420p"
        stream.options = {"g": "2"}
        for k in range(n_frames):
            image = picture(height_px, width_px, k)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


def make_udacity_ch2(folder, n_rows=5):
    folder.mkdir()
    write_video(folder / "center.mp4", n_rows)
    rows = [f"{k},{1479425441000000000 + 50_000_000 * k},{0.1 * (k - 2)}" for k in range(n_rows)]
    (folder / "steering.csv").write_text("\n".join(["frame,timestamp_ns,steering_wheel_rad", *rows]) + "\n")
    mask = np.zeros((160, 320), np.uint8)
    mask[85:, 160:] = 255  # right half of the rows from 160 + 2 * 85 = 330 on
    (folder / "road_masks").mkdir()
    cv2.imwrite(str(folder / "road_masks" / "0003.png"), mask)
    return folder


def make_udacity_sim(folder, n_rows=4, header=False):
    (folder / "IMG").mkdir(parents=True)
    lines = ["center,left,right,steering,throttle,brake,speed"] if header else []
    for k in range(n_rows):
        names = [f"{camera}_2020_05_09_22_16_58_{100 * k:03d}.jpg" for camera in ("center", "left", "right")]
        for i, name in enumerate(names):
            cv2.imwrite(str(folder / "IMG" / name), picture(160, 320, k + 5 * i))
        paths = ", ".join("C:\\Users\\someone\\IMG\\" + name for name in names)
        lines.append(f"{paths}, {0.25 * (k - 1)}, 0.5, 0, {10.0 * k}")
    (folder / "driving_log.csv").write_text("\n".join(lines) + "\n")
    return folder


def make_donkeycar(folder, n_rows=6, deleted=(2,)):
    (folder / "images").mkdir(parents=True)
    records = []
    for k in range(n_rows):
        name = f"{k}_cam_image_array_.jpg"
        cv2.imwrite(str(folder / "images" / name), picture(120, 160, k))
        records.append(
            {
                "_index": k,
                "_timestamp_ms": 1669759744666 + 50 * k,
                "cam/image_array": name,
                "user/angle": 0.5 - 0.25 * k,
            }
        )
    (folder / "catalog_0.catalog").write_text("".join(json.dumps(r) + "\n" for r in records[:4]))
    (folder / "catalog_1.catalog").write_text("".join(json.dumps(r) + "\n" for r in records[4:]))
    manifest = {"paths": ["catalog_0.catalog", "catalog_1.catalog"], "deleted_indexes": list(deleted)}
    head = '["cam/image_array", "user/angle"]\n["image_array", "float"]\n{}\n{"created_at": 1.5}\n'
    (folder / "manifest.json").write_text(head + json.dumps(manifest) + "\n")
    return folder


MAKE = {"udacity-ch2": make_udacity_ch2, "udacity-sim": make_udacity_sim, "donkeycar": make_donkeycar}


@pytest.mark.parametrize("name", MAKE)
def test_importers_frames_are_rgb_of_the_asked_size_with_a_camera_to_match(tmp_path, name):
    drive = IMPORTERS[name](MAKE[name](tmp_path / "src"), *SIZE)
    assert drive.frames.shape[1:] == (*SIZE, 3)
    left, right = drive.frames[1, :, 20:30].mean((0, 1)), drive.frames[1, :, 70:80].mean((0, 1))
    assert left[0] > 150 > left[2]  # red is channel 0
    assert right[2] > 150 > right[0]
    grey = drive.frames[:, :, :, 1].mean((1, 2))
    assert np.all(np.diff(grey) > 5)  # the pictures keep their order
    assert drive.camera.focal_u_px == pytest.approx(drive.camera.focal_v_px, rel=0.01)


@pytest.mark.parametrize("name", MAKE)
def test_importers_import_drive_saves_what_load_reads(tmp_path, name):
    drive = import_drive(name, MAKE[name](tmp_path / "src"), tmp_path / "dst", *SIZE)
    back = load(tmp_path / "dst")
    np.testing.assert_array_equal(back.curvature_per_m, drive.curvature_per_m)
    np.testing.assert_array_equal(back.timestamps_s, drive.timestamps_s)
    assert (back.meta, back.camera) == (drive.meta, drive.camera)


def test_importers_unknown_format_lists_the_known(tmp_path):
    with pytest.raises(BadInputError, match="unknown format 'rosbag'; known: udacity-ch2, udacity-sim"):
        import_drive("rosbag", tmp_path, tmp_path / "dst")


def test_importers_udacity_ch2_numbers_by_hand(tmp_path):
    drive = IMPORTERS["udacity-ch2"](make_udacity_ch2(tmp_path / "src"), 250, 640)
    np.testing.assert_allclose(np.diff(drive.timestamps_s), 0.05, atol=1e-6)
    np.testing.assert_allclose(drive.curvature_per_m[4], np.tan(0.2 / 14.8) / 2.85, rtol=1e-6)
    assert drive.curvature_per_m[0] < 0 == drive.curvature_per_m[2]
    assert (drive.camera.horizon_u_px, drive.camera.horizon_v_px) == (326.6, pytest.approx(211.3 - 165))
    np.testing.assert_array_equal(drive.mask_rows(), [3])
    expected = np.zeros((250, 640), bool)
    expected[330 - 165 :, 320:] = True
    np.testing.assert_array_equal(drive.road_masks[3], expected)


def test_importers_udacity_ch2_without_masks_has_none(tmp_path):
    src = make_udacity_ch2(tmp_path / "src")
    (src / "road_masks" / "0003.png").unlink()
    assert IMPORTERS["udacity-ch2"](src, *SIZE).road_masks is None


@pytest.mark.parametrize("header", [False, True])
def test_importers_udacity_sim_numbers_by_hand(tmp_path, header):
    drive = IMPORTERS["udacity-sim"](make_udacity_sim(tmp_path / "src", header=header), *SIZE)
    np.testing.assert_allclose(drive.timestamps_s - drive.timestamps_s[0], [0, 0.1, 0.2, 0.3], atol=1e-6)
    kappa = np.tan(np.deg2rad(6.25)) / 2.67  # a quarter of the lock of 25 degrees
    np.testing.assert_allclose(drive.curvature_per_m[:3], [kappa, 0, -kappa], rtol=1e-6)
    np.testing.assert_allclose(drive.speed_mps, [0, 4.4704, 8.9408, 13.4112], rtol=1e-6)


def test_importers_udacity_sim_side_cameras_steer_back_to_the_path(tmp_path):
    src = make_udacity_sim(tmp_path / "src")
    center, left, right = (IMPORTERS[f"udacity-sim{side}"](src, *SIZE) for side in ("", "-left", "-right"))
    back = left.curvature_per_m - center.curvature_per_m
    assert np.all(back < 0)  # a car too far left turns right
    np.testing.assert_allclose(right.curvature_per_m - center.curvature_per_m, -back, rtol=1e-4)
    x_m, radius_m = (10.0, -1 / float(back[0]))  # the arc it means leads 0.89 m aside at 10 m of straight distance
    assert x_m**2 / (2 * radius_m) == pytest.approx(0.89, rel=1e-4)
    assert left.frames.mean() > center.frames.mean()  # the left picture, not the centre's


def test_importers_donkeycar_leaves_out_deleted_rows_and_shows_the_gap(tmp_path):
    drive = IMPORTERS["donkeycar"](make_donkeycar(tmp_path / "src", deleted=(2, 3)), *SIZE)
    np.testing.assert_allclose(drive.timestamps_s - drive.timestamps_s[0], [0, 0.05, 0.2, 0.25], atol=1e-6)
    assert drive.segments() == [slice(0, 2), slice(2, 4)]
    kappa = np.tan(np.deg2rad(25 * np.array([-0.5, -0.25, 0.5, 0.75]))) / 0.25
    np.testing.assert_allclose(drive.curvature_per_m, kappa, rtol=1e-6)
    assert drive.speed_mps is None


def rewrite(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def cut_file(path, keep=0.6):
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


CH2, SIM, DONKEY = "udacity-ch2", "udacity-sim", "donkeycar"
SIM_PICTURE = "center_2020_05_09_22_16_58_200.jpg"
BREAK = [
    (CH2, "steering.csv: cannot be read", lambda d: (d / "steering.csv").unlink()),
    (CH2, "center.mp4: cannot be decoded", lambda d: (d / "center.mp4").unlink()),
    (CH2, "missing: steering_wheel_rad", lambda d: rewrite(d / "steering.csv", "wheel_rad", "angle")),
    (CH2, "row 1: steering_wheel_rad .* got 'nan'", lambda d: rewrite(d / "steering.csv", ",-0.1", ",nan")),
    (CH2, "row 1: steering_wheel_rad .* got 'x'", lambda d: rewrite(d / "steering.csv", ",-0.1", ",x")),
    (CH2, "row 2: frame must be 2, got 7", lambda d: rewrite(d / "steering.csv", "\n2,", "\n7,")),
    (CH2, "steering.csv: drive: row 2: timestamp", lambda d: rewrite(d / "steering.csv", "1100000000", "1050000000")),
    (CH2, "center.mp4: 4 frames, but its table has 5", lambda d: write_video(d / "center.mp4", 4)),
    (CH2, "center.mp4: more frames than the 5 rows", lambda d: write_video(d / "center.mp4", 6)),
    (CH2, "frames must be 480x640, got 240x320", lambda d: write_video(d / "center.mp4", 5, 240, 320)),
    (CH2, "center.mp4: cannot be decoded", lambda d: cut_file(d / "center.mp4")),
    (CH2, "0003.png: picture is cut short", lambda d: cut_file(d / "road_masks" / "0003.png")),
    (CH2, "0005.png: must be named", lambda d: (d / "road_masks/0003.png").rename(d / "road_masks/0005.png")),
    (SIM, "driving_log.csv: cannot be read", lambda d: (d / "driving_log.csv").unlink()),
    (
        SIM,
        "row 0 has 6 fields, the header has 7",
        lambda d: rewrite(d / "driving_log.csv", ", 0.5, 0, 0.0", ", 0, 0.0"),
    ),
    (SIM, "row 2: steering must be .* got 'NaN'", lambda d: rewrite(d / "driving_log.csv", ", 0.25,", ", NaN,")),
    (SIM, "row 2: steering must lie in -1 to 1, got 25", lambda d: rewrite(d / "driving_log.csv", ", 0.25,", ", 25,")),
    (SIM, "row 1: speed must be", lambda d: rewrite(d / "driving_log.csv", ", 10.0", ", fast")),
    (SIM, f"row 2: .*{SIM_PICTURE}: picture cannot be read", lambda d: (d / "IMG" / SIM_PICTURE).unlink()),
    (SIM, f"row 2: .*{SIM_PICTURE}: picture is cut short", lambda d: cut_file(d / "IMG" / SIM_PICTURE)),
    (SIM, "3 rows, but IMG has 4 pictures", lambda d: drop_last_line(d / "driving_log.csv")),
    (SIM, "row 2: timestamp", lambda d: reuse_picture(d)),
    (SIM, "picture must be named", lambda d: rename_picture(d, "center.jpg")),
    (SIM, "holds no date", lambda d: rename_picture(d, "center_2020_13_09_22_16_58_200.jpg")),
    (DONKEY, "manifest.json: cannot be read", lambda d: (d / "manifest.json").unlink()),
    (DONKEY, "catalog_1.catalog: row 1 is not JSON", lambda d: cut_file(d / "catalog_1.catalog", 0.9)),
    (DONKEY, "catalog_1.catalog: cannot be read", lambda d: (d / "catalog_1.catalog").unlink()),
    (DONKEY, "row 1: user/angle must be .* got 'x'", lambda d: rewrite(d / "catalog_0.catalog", ": 0.25", ': "x"')),
    (DONKEY, "row 1: user/angle must be .* got nan", lambda d: rewrite(d / "catalog_0.catalog", ": 0.25", ": NaN")),
    (DONKEY, "record 1 has no 'user/angle'", lambda d: rewrite(d / "catalog_0.catalog", 'user/angle": 0.25', 'a": 0')),
    (DONKEY, "row 2: .*3_cam.* cannot be read", lambda d: (d / "images" / "3_cam_image_array_.jpg").unlink()),
    (DONKEY, "row 0: .*0_cam.* is cut short", lambda d: cut_file(d / "images" / "0_cam_image_array_.jpg")),
    (DONKEY, "5 records, but 6 pictures", lambda d: drop_last_line(d / "catalog_1.catalog")),
    (DONKEY, "row 3: timestamp", lambda d: rewrite(d / "catalog_1.catalog", "44866", "44816")),
    (DONKEY, "all 6 records are deleted", lambda d: rewrite(d / "manifest.json", "[2]", "[0, 1, 2, 3, 4, 5]")),
    (DONKEY, "must list the catalogs", lambda d: rewrite(d / "manifest.json", "paths", "files")),
    (DONKEY, "must be 120x160 .* got 60x80", lambda d: cv2.imwrite(str(d / "images/0_cam_image_array_.jpg"), SMALL)),
]
SMALL = picture(60, 80, 1)


def drop_last_line(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def reuse_picture(folder):
    (folder / "IMG" / SIM_PICTURE).unlink()
    rewrite(folder / "driving_log.csv", SIM_PICTURE, SIM_PICTURE.replace("_200", "_100"))


def rename_picture(folder, name):
    (folder / "IMG" / SIM_PICTURE).rename(folder / "IMG" / name)
    rewrite(folder / "driving_log.csv", SIM_PICTURE, name)


@pytest.mark.parametrize(("name", "message", "spoil"), BREAK, ids=[f"{name}: {text}" for name, text, _ in BREAK])
def test_importers_name_the_fault_in_one_line(tmp_path, name, message, spoil):
    src = MAKE[name](tmp_path / "src")
    spoil(src)
    with pytest.raises(BadInputError, match=message) as caught:
        IMPORTERS[name](src, *SIZE)
    assert str(src) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", IMPORTERS)
def test_importers_reject_a_folder_that_is_missing_or_empty(tmp_path, name):
    with pytest.raises(BadInputError, match="no such folder"):
        IMPORTERS[name](tmp_path / "nowhere")
    with pytest.raises(BadInputError, match="folder is empty"):
        IMPORTERS[name](tmp_path)


def flow_curvature_correlation(drive, lag, rows):
    """Correlation of the labels with the scenery's move to the right, ``lag`` frames later."""
    rows_px = slice(0, int(drive.camera.horizon_v_px) + 20)
    grey = [cv2.cvtColor(frame[rows_px], cv2.COLOR_RGB2GRAY).astype(float) for frame in drive.frames[rows]]
    window = cv2.createHanningWindow(grey[0].shape[::-1], cv2.CV_64F)
    flow_px = [cv2.phaseCorrelate(a, b, window)[0][0] for a, b in itertools.pairwise(grey)]
    labels = drive.curvature_per_m[rows][1:]
    if drive.speed_mps is not None:
        labels = labels * drive.speed_mps[rows][1:]
    flow_px = np.clip(flow_px, -20, 20)[lag:]
    return np.corrcoef(labels[: len(flow_px)], flow_px)[0, 1]


@pytest.mark.external
def test_importers_udacity_ch2_real_drive():
    drive = IMPORTERS["udacity-ch2"](recorded("udacity-ch2") / "c")
    assert len(drive) == 924
    np.testing.assert_array_equal(drive.mask_rows(), [326, 444, 680, 798])
    assert 0.2 < drive.road_masks[444].mean() < 0.8
    assert np.median(drive.dt_s()) == pytest.approx(0.05, abs=1e-3)
    assert flow_curvature_correlation(drive, 0, slice(0, 924)) > 0.5  # turning left moves the scenery right


@pytest.mark.external
def test_importers_udacity_ch2_tables_of_the_whole_real_drive():
    angles = [
        np.loadtxt(recorded("udacity-ch2") / block / "steering.csv", delimiter=",", skiprows=1)[:, 2] for block in "abc"
    ]
    assert [len(block) for block in angles] == [1560, 1670, 924]
    rms_rad = [float(np.sqrt(np.mean(block**2))) for block in angles]
    np.testing.assert_allclose(rms_rad, [0.1798, 0.2065, 0.0606], atol=1e-4)


@pytest.mark.external
def test_importers_udacity_sim_real_recording():
    drive = IMPORTERS["udacity-sim"](recorded("udacity-sim"), 78, 200)
    assert len(drive) == 613
    assert drive.segments() == [slice(0, 613)]
    assert np.median(drive.dt_s()) == pytest.approx(0.113, abs=1e-3)
    assert drive.speed_mps.max() == pytest.approx(13.5, abs=0.1)
    assert flow_curvature_correlation(drive, 1, slice(120, 490)) > 0.5


@pytest.mark.external
def test_importers_donkeycar_real_tub():
    src = recorded("donkeycar-tub")
    drive = IMPORTERS["donkeycar"](src, 78, 200)
    assert len(drive) == json.loads((src / "manifest.json").read_text().splitlines()[-1])["current_index"]
    assert len(drive.segments()) > 1
    assert np.median(drive.dt_s()) == pytest.approx(0.05, abs=1e-3)
    assert flow_curvature_correlation(drive, 4, slice(0, 1000)) > 0.5
