import itertools
import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import gymnasium
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.drive import VehicleFacts, load, load_table
from sim.errors import BadInputError
from sim.horizon import vanishing_point
from sim.importers import IMPORTERS, import_drive
from sim.importers.udacity_sim import decimal_commas
from sim.label_table import Columns
from sim.lerobot import write_lerobot
from sim.recording import Asked
from sim.rig import Rig
from sim.steering import SteeringUnit, curvature, needed
from sim.video_file import open_video

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


def make_donkeycar_1(folder, n_rows=6):
    """A tub of version 1: a record file and a picture side by side, no catalogs."""
    folder.mkdir()
    (folder / "meta.json").write_text(
        '{"inputs": ["cam/image_array", "user/angle"], "types": ["image_array", "float"]}'
    )
    for k in range(n_rows):
        name = f"{k}_cam-image_array_.jpg"
        cv2.imwrite(str(folder / name), picture(120, 160, k))
        record = {"cam/image_array": name, "user/angle": 0.5 - 0.25 * k, "user/mode": "user", "milliseconds": 50 * k}
        (folder / f"record_{k}.json").write_text(json.dumps(record))
    return folder


def make_udacity_ch2_export(folder, n_rows=5):
    """The challenge's own export: pictures of three cameras, one row a picture."""
    lines = ["index,timestamp,width,height,frame_id,filename,angle,torque,speed,lat,long,alt"]
    for i, camera in enumerate(("left", "center", "right")):
        (folder / camera).mkdir(parents=True)
        for k in range(n_rows):
            stamp = 1479425441000000000 + 50_000_000 * k + 1000 * i
            cv2.imwrite(str(folder / camera / f"{stamp}.jpg"), picture(480, 640, k + 5 * i))
            angle = 0.1 * (k - 2)
            lines.append(f",{stamp},640,480,{camera}_camera,{camera}/{stamp}.jpg,{angle},0,{10 + k},37,-122,5")
    (folder / "interpolated.csv").write_text("\n".join(lines) + "\n")
    return folder


def make_video(folder, n_rows=6):
    folder.mkdir()
    write_video(folder / "phone.mp4", n_rows, 240, 320)
    rows = [f"{0.05 * k:.2f},{-1.5 * (k - 2)},{36 + 3.6 * k}" for k in range(n_rows)]
    (folder / "phone.csv").write_text("\n".join(["time_s,steering_wheel_deg,speed_kmh", *rows]) + "\n")
    return folder


def make_pictures(folder, n_rows=6):
    (folder / "shots").mkdir(parents=True)
    for k in range(n_rows):
        cv2.imwrite(str(folder / "shots" / f"{k}.png"), picture(120, 320, k))
    lines = [f"shots/{k}.png,{0.1 * (k - 2)}" for k in range(n_rows)]
    (folder / "labels.csv").write_text("\n".join(["file,angle", *lines]) + "\n")
    return folder


def write_arrays(folder, **arrays):
    folder.mkdir(parents=True)
    for name, values in arrays.items():
        with (folder / name).open("wb") as file:  # as the data set has them: no suffix
            np.save(file, np.asarray(values, float))


def quaternion(axis, angle):
    return np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * np.asarray(axis, float)])


def product(a, b):
    """Hamilton's product: turn by ``b`` first."""
    w = a[0] * b[0] - a[1:] @ b[1:]
    return np.concatenate([[w], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])


def make_comma2k19(folder, n_rows=6, first_s=100.0, right=0.0, down=0.0):
    """A segment; ``right`` and ``down``: where the car drives to, in the camera's eyes, per metre forward."""
    folder.mkdir(parents=True)
    write_video(folder / "raw.mp4", n_rows, 874, 1164)
    with av.open(str(folder / "raw.mp4")) as source, av.open(str(folder / "video.hevc"), "w", format="h264") as bare:
        stream = bare.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                bare.mux(packet)
    (folder / "raw.mp4").unlink()
    times_s = first_s + 0.05 * np.arange(n_rows)
    can_s = first_s - 0.5 + 0.01 * np.arange(100 + 5 * n_rows)
    can = folder / "processed_log" / "CAN"
    write_arrays(can / "steering_angle", t=can_s, value=10.0 * (can_s - first_s))
    write_arrays(can / "speed", t=can_s, value=np.full((len(can_s), 1), 20.0))
    turn = product(quaternion([0, 0, 1], 0.7), quaternion([0, 1, 0], -0.4))  # earth's axes from the camera's
    seen = np.array([1.0, right, down])
    w, vector = turn[0], turn[1:]
    velocity = seen + 2 * w * np.cross(vector, seen) + 2 * np.cross(vector, np.cross(vector, seen))
    write_arrays(
        folder / "global_pose",
        frame_times=times_s,
        frame_velocities=np.tile(20.0 * velocity, (n_rows, 1)),
        frame_orientations=np.tile(turn, (n_rows, 1)),
    )
    return folder


def make_lerobot(folder, n_rows=6):
    """A data set of our own writer; tests of other writers' habits change it."""
    make_pictures(folder.with_name("pictures"), n_rows)
    asked = Asked(78, 200, columns=Columns(steering_unit="curvature_per_m", positive="left"))
    import_drive("pictures", folder.with_name("pictures"), folder.with_name("drive"), asked)
    write_lerobot(load_table(folder.with_name("drive")), folder)
    shutil.rmtree(folder.with_name("pictures"))
    shutil.rmtree(folder.with_name("drive"))
    return folder


MAKE = {
    "comma2k19": make_comma2k19,
    "lerobot": make_lerobot,
    "udacity-ch2": make_udacity_ch2,
    "udacity-sim": make_udacity_sim,
    "donkeycar": make_donkeycar,
    "video": make_video,
    "pictures": make_pictures,
}
ASKED = Asked(*SIZE)


def read(name, src, **asked):
    return IMPORTERS[name](src, Asked(*SIZE, **asked)).drive()


def in_memory(name, src, height_px, width_px):
    return IMPORTERS[name](src, Asked(height_px, width_px)).drive()


@pytest.mark.parametrize("name", MAKE)
def test_importers_frames_are_rgb_of_the_asked_size_with_a_camera_to_match(tmp_path, name):
    drive = read(name, MAKE[name](tmp_path / "src"))
    assert drive.frames.shape[1:] == (*SIZE, 3)
    left, right = drive.frames[1, :, 20:30].mean((0, 1)), drive.frames[1, :, 70:80].mean((0, 1))
    assert left[0] > 150 > left[2]  # red is channel 0
    assert right[2] > 150 > right[0]
    grey = drive.frames[:, :, :, 1].mean((1, 2))
    assert np.all(np.diff(grey) > 5)  # the pictures keep their order
    assert drive.camera.focal_u_px == pytest.approx(drive.camera.focal_v_px, rel=0.01)


@pytest.mark.parametrize("name", MAKE)
def test_importers_import_drive_streams_what_load_reads(tmp_path, name):
    src = MAKE[name](tmp_path / "src")
    imported = import_drive(name, src, tmp_path / "dst", ASKED)
    back, drive = load(tmp_path / "dst"), read(name, src)
    for field in ("timestamps_s", "curvature_per_m", "speed_mps", "road_masks"):
        np.testing.assert_array_equal(getattr(back, field), getattr(drive, field))
    assert (back.meta, back.camera) == (drive.meta, drive.camera) == (imported.meta, imported.camera)
    assert len(imported) == len(back)
    assert np.abs(back.frames.astype(int) - drive.frames).mean() < 3


def test_importers_unknown_format_lists_the_known(tmp_path):
    with pytest.raises(BadInputError, match="unknown format 'rosbag'; known: video, pictures, donkeycar, udacity-ch2"):
        import_drive("rosbag", tmp_path, tmp_path / "dst")


def test_importers_udacity_ch2_numbers_by_hand(tmp_path):
    drive = in_memory("udacity-ch2", make_udacity_ch2(tmp_path / "src"), 250, 640)
    np.testing.assert_allclose(np.diff(drive.timestamps_s), 0.05, atol=1e-6)
    np.testing.assert_allclose(drive.curvature_per_m[4], np.tan(0.2 / 14.8) / 2.85, rtol=1e-6)
    assert drive.curvature_per_m[0] < 0 == drive.curvature_per_m[2]
    assert (drive.camera.horizon_u_px, drive.camera.horizon_v_px) == (pytest.approx(326.6), pytest.approx(211.3 - 165))
    np.testing.assert_array_equal(drive.mask_rows(), [3])
    expected = np.zeros((250, 640), bool)
    expected[330 - 165 :, 320:] = True
    np.testing.assert_array_equal(drive.road_masks[3], expected)


def test_importers_udacity_ch2_without_masks_has_none(tmp_path):
    src = make_udacity_ch2(tmp_path / "src")
    (src / "road_masks" / "0003.png").unlink()
    assert read("udacity-ch2", src).road_masks is None


def test_importers_udacity_ch2_mask_follows_its_frame_when_rows_are_left_out(tmp_path):
    src = make_udacity_ch2(tmp_path / "src")
    rewrite(src / "steering.csv", "1,1479425441050000000,-0.1", "1,1479425441050000000,")
    drive = read("udacity-ch2", src)
    np.testing.assert_array_equal(drive.mask_rows(), [2])


def test_importers_udacity_ch2_export_takes_one_camera_of_three(tmp_path):
    src = make_udacity_ch2_export(tmp_path / "src")
    center, left = read("udacity-ch2", src), read("udacity-ch2-left", src)
    np.testing.assert_allclose(center.curvature_per_m, np.tan(0.1 * np.arange(-2, 3) / 14.8) / 2.85, rtol=1e-6)
    np.testing.assert_allclose(center.speed_mps, [10, 11, 12, 13, 14])
    assert center.frames.mean() > left.frames.mean()  # its own pictures: the makers' are brighter by camera
    assert np.all(left.curvature_per_m < center.curvature_per_m)
    assert "0.5 m aside" in left.meta.notes


@pytest.mark.parametrize("header", [False, True])
def test_importers_udacity_sim_numbers_by_hand(tmp_path, header):
    drive = read("udacity-sim", make_udacity_sim(tmp_path / "src", header=header))
    np.testing.assert_allclose(drive.timestamps_s - drive.timestamps_s[0], [0, 0.1, 0.2, 0.3], atol=1e-6)
    kappa = np.tan(np.deg2rad(6.25)) / 2.67  # a quarter of the lock of 25 degrees
    np.testing.assert_allclose(drive.curvature_per_m[:3], [kappa, 0, -kappa], rtol=1e-6)
    np.testing.assert_allclose(drive.speed_mps, [0, 4.4704, 8.9408, 13.4112], rtol=1e-6)


def test_importers_udacity_sim_side_cameras_steer_back_to_the_path(tmp_path):
    src = make_udacity_sim(tmp_path / "src")
    center, left, right = (read(f"udacity-sim{side}", src) for side in ("", "-left", "-right"))
    back = left.curvature_per_m - center.curvature_per_m
    assert np.all(back < 0)  # a car too far left turns right
    np.testing.assert_allclose(right.curvature_per_m - center.curvature_per_m, -back, rtol=1e-4)
    x_m, radius_m = (10.0, -1 / float(back[0]))  # the arc it means leads 0.89 m aside at 10 m of straight distance
    assert x_m**2 / (2 * radius_m) == pytest.approx(0.89, rel=1e-4)
    assert left.frames.mean() > center.frames.mean()  # the left picture, not the centre's


def test_importers_donkeycar_leaves_out_deleted_rows_and_shows_the_gap(tmp_path):
    drive = read("donkeycar", make_donkeycar(tmp_path / "src", deleted=(2, 3)))
    np.testing.assert_allclose(drive.timestamps_s - drive.timestamps_s[0], [0, 0.05, 0.2, 0.25], atol=1e-6)
    assert drive.segments() == [slice(0, 2), slice(2, 4)]
    kappa = np.tan(np.deg2rad(25 * np.array([-0.5, -0.25, 0.5, 0.75]))) / 0.25
    np.testing.assert_allclose(drive.curvature_per_m, kappa, rtol=1e-6)
    assert drive.speed_mps is None
    assert drive.meta.left_out == {"deleted": 2}


def test_importers_donkeycar_version_1(tmp_path):
    old, new = make_donkeycar_1(tmp_path / "old"), make_donkeycar(tmp_path / "new", deleted=())
    a, b = read("donkeycar", old), read("donkeycar", new)
    np.testing.assert_array_equal(a.curvature_per_m, b.curvature_per_m)
    np.testing.assert_array_equal(a.frames, b.frames)
    np.testing.assert_allclose(np.diff(a.timestamps_s), 0.05)


def test_importers_donkeycar_without_times_takes_a_rate_and_says_so(tmp_path):
    src = make_donkeycar_1(tmp_path / "src")
    for path in src.glob("record_*.json"):
        rewrite(path, '"milliseconds"', '"ms"')
    assert "20 frames a second are assumed" in read("donkeycar", src).meta.notes
    np.testing.assert_allclose(np.diff(read("donkeycar", src, rate_hz=10.0).timestamps_s), 0.1)


def rewrite(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def cut_file(path, keep=0.6):
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


CH2, SIM, DONKEY = "udacity-ch2", "udacity-sim", "donkeycar"
SIM_PICTURE = "center_2020_05_09_22_16_58_200.jpg"
SMALL = picture(60, 80, 1)


def drop_last_line(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def reuse_picture(folder):
    (folder / "IMG" / SIM_PICTURE).unlink()
    rewrite(folder / "driving_log.csv", SIM_PICTURE, SIM_PICTURE.replace("_200", "_100"))


def rename_picture(folder, name):
    (folder / "IMG" / SIM_PICTURE).rename(folder / "IMG" / name)
    rewrite(folder / "driving_log.csv", SIM_PICTURE, name)


def by_pilot(folder):
    rewrite(folder / "catalog_0.catalog", '"user/angle": 0.25', '"user/mode": "local", "user/angle": 0.0')


# What is spoiled, how many rows stay, and under which reason the others are counted.
LEAVE_OUT = [
    (CH2, 4, {"without steering": 1}, lambda d: rewrite(d / "steering.csv", ",-0.1", ",nan")),
    (CH2, 4, {"without steering": 1}, lambda d: rewrite(d / "steering.csv", ",-0.1", ",x")),
    (CH2, 4, {"without a frame": 1, "frame without a row": 1}, lambda d: rewrite(d / "steering.csv", "\n2,", "\n7,")),
    (CH2, 4, {"at the time of the row before": 1}, lambda d: rewrite(d / "steering.csv", "1100000000", "1050000000")),
    (CH2, 4, {"without a frame": 1}, lambda d: write_video(d / "center.mp4", 4)),
    (CH2, 5, {"frame without a row": 1}, lambda d: write_video(d / "center.mp4", 6)),
    (CH2, 5, {}, lambda d: write_video(d / "center.mp4", 5, 240, 320)),
    (
        SIM,
        3,
        {"row with missing or extra fields": 1},
        lambda d: rewrite(d / "driving_log.csv", ", 0.5, 0, 0.0", ", 0.0"),
    ),
    (SIM, 3, {"without steering": 1}, lambda d: rewrite(d / "driving_log.csv", ", 0.25,", ", NaN,")),
    (SIM, 3, {"steering beyond -1 to 1": 1}, lambda d: rewrite(d / "driving_log.csv", ", 0.25,", ", 25,")),
    (SIM, 3, {"picture missing": 1}, lambda d: (d / "IMG" / SIM_PICTURE).unlink()),
    (SIM, 3, {"picture damaged": 1}, lambda d: cut_file(d / "IMG" / SIM_PICTURE)),
    (SIM, 3, {"picture of another size": 1}, lambda d: cv2.imwrite(str(d / "IMG" / SIM_PICTURE), SMALL)),
    (SIM, 3, {"picture without a row": 1}, lambda d: drop_last_line(d / "driving_log.csv")),
    (SIM, 3, {"at the time of the row before": 1}, lambda d: reuse_picture(d)),
    (SIM, 3, {"without a time": 1}, lambda d: rename_picture(d, "center.jpg")),
    (SIM, 3, {"without a time": 1}, lambda d: rename_picture(d, "center_2020_13_09_22_16_58_200.jpg")),
    (
        DONKEY,
        4,
        {"torn line": 1, "picture without a record": 1, "deleted": 1},
        lambda d: cut_file(d / "catalog_1.catalog", 0.9),
    ),
    (
        DONKEY,
        3,
        {"catalog missing": 1, "picture without a record": 2, "deleted": 1},
        lambda d: (d / "catalog_1.catalog").unlink(),
    ),
    (DONKEY, 4, {"without steering": 1, "deleted": 1}, lambda d: rewrite(d / "catalog_0.catalog", ": 0.25", ': "x"')),
    (DONKEY, 4, {"without steering": 1, "deleted": 1}, lambda d: rewrite(d / "catalog_0.catalog", ": 0.25", ": NaN")),
    (DONKEY, 4, {"without steering": 1, "deleted": 1}, lambda d: rewrite(d / "catalog_0.catalog", ": 0.25", ": null")),
    (DONKEY, 5, {"deleted": 1}, lambda d: rewrite(d / "catalog_0.catalog", ": 0.25", ": -1.00003")),
    (
        DONKEY,
        4,
        {"angle beyond -1 to 1": 1, "deleted": 1},
        lambda d: rewrite(d / "catalog_0.catalog", ": 0.25", ": 12"),
    ),
    (DONKEY, 4, {"steered by a pilot whose angle is not recorded": 1, "deleted": 1}, lambda d: by_pilot(d)),
    (DONKEY, 4, {"picture missing": 1, "deleted": 1}, lambda d: (d / "images" / "3_cam_image_array_.jpg").unlink()),
    (DONKEY, 4, {"picture damaged": 1, "deleted": 1}, lambda d: cut_file(d / "images" / "0_cam_image_array_.jpg")),
    (DONKEY, 4, {"picture without a record": 1, "deleted": 1}, lambda d: drop_last_line(d / "catalog_1.catalog")),
    (
        DONKEY,
        4,
        {"at the time of the row before": 1, "deleted": 1},
        lambda d: rewrite(d / "catalog_1.catalog", "44866", "44816"),
    ),
    (DONKEY, 6, {}, lambda d: (d / "manifest.json").unlink()),
    (
        DONKEY,
        4,
        {"picture missing": 1, "picture without a record": 1, "deleted": 1},
        lambda d: rewrite(d / "catalog_0.catalog", "0_cam", "0" * 5000 + "_cam"),
    ),
    (DONKEY, 6, {}, lambda d: rewrite(d / "manifest.json", "[2]", "[[1], {}, -1]")),
    (DONKEY, 5, {"deleted": 1}, lambda d: rewrite(d / "manifest.json", "paths", "files")),
    (DONKEY, 5, {"deleted": 1}, lambda d: (d / "images" / "._0_cam_image_array_.jpg").write_bytes(b"x")),
    (
        DONKEY,
        5,
        {"torn line": 1, "deleted": 1},
        lambda d: (d / "catalog_1.catalog").write_text((d / "catalog_1.catalog").read_text() + "[" * 50_000),
    ),
]


@pytest.mark.parametrize(
    ("name", "n_rows", "left_out", "spoil"), LEAVE_OUT, ids=[f"{name}-{k}" for k, (name, *_) in enumerate(LEAVE_OUT)]
)
def test_importers_leave_out_what_cannot_be_used_and_count_it(tmp_path, capfd, name, n_rows, left_out, spoil):
    src = MAKE[name](tmp_path / "src")
    spoil(src)
    drive = read(name, src)
    assert (len(drive), dict(drive.meta.left_out)) == (n_rows, left_out)
    if left_out.keys() - {"deleted"}:  # what is left has its own labels
        good = read(name, MAKE[name](tmp_path / "good"))
        assert set(drive.curvature_per_m.tolist()) <= set(good.curvature_per_m.tolist())
    if left_out:
        with pytest.raises(BadInputError, match="left out: "):
            import_drive(name, src, tmp_path / "dst", ASKED, is_strict=True)
        assert not (tmp_path / "dst").exists()
    assert capfd.readouterr().err == ""  # no decoder writes lines of its own


REFUSE = [
    (CH2, "expected center.mp4 and steering.csv", lambda d: (d / "steering.csv").unlink()),
    (CH2, "center.mp4: no such video", lambda d: (d / "center.mp4").unlink()),
    (CH2, "no steering column 'steering_wheel_rad'", lambda d: rewrite(d / "steering.csv", "wheel_rad", "angle")),
    (CH2, "center.mp4: cannot be read", lambda d: cut_file(d / "center.mp4")),
    (CH2, "0003.png: picture is cut short", lambda d: cut_file(d / "road_masks" / "0003.png")),
    (CH2, "road.png: must be named", lambda d: (d / "road_masks/0003.png").rename(d / "road_masks/road.png")),
    (SIM, "expected driving_log.csv", lambda d: (d / "driving_log.csv").unlink()),
    (
        SIM,
        "no usable row .4 left out: 4 picture without a row.; looked for",
        lambda d: (d / "driving_log.csv").write_text(""),
    ),
    (SIM, "none of 4 pictures can be read", lambda d: [p.unlink() for p in (d / "IMG").glob("center*")]),
    (DONKEY, "expected the manifest.json", lambda d: [p.unlink() for p in d.iterdir() if p.is_file()]),
    (DONKEY, "no usable row .6 left out: 6 deleted", lambda d: rewrite(d / "manifest.json", "[2]", "[0,1,2,3,4,5]")),
    (DONKEY, "none of 5 pictures", lambda d: [p.write_bytes(b"") for p in (d / "images").iterdir()]),
    ("video", "phone.csv: is empty", lambda d: (d / "phone.csv").write_text("\n")),
    ("video", "expected one table of labels .*, found none", lambda d: (d / "phone.csv").unlink()),
    ("video", "no column for steering", lambda d: rewrite(d / "phone.csv", "steering_wheel_deg", "wind")),
    ("video", "phone.mp4: cannot be read", lambda d: (d / "phone.mp4").write_bytes(b"no video")),
    ("video", "has no pictures", lambda d: write_audio(d / "phone.mp4")),
    ("pictures", "no column names pictures", lambda d: (d / "labels.csv").write_text("t,angle\n0,1\n1,2\n")),
    ("pictures", "none of 6 pictures", lambda d: [p.unlink() for p in (d / "shots").iterdir()]),
]


def write_audio(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(("name", "message", "spoil"), REFUSE, ids=[f"{name}: {text}" for name, text, _ in REFUSE])
def test_importers_refuse_what_holds_nothing_usable_in_one_line(tmp_path, name, message, spoil):
    src = MAKE[name](tmp_path / "src")
    spoil(src)
    with pytest.raises(BadInputError, match=message) as caught:
        import_drive(name, src, tmp_path / "dst", ASKED)
    assert str(src) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    assert [entry.name for entry in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize("name", IMPORTERS)
def test_importers_reject_a_folder_that_is_missing_or_empty(tmp_path, name):
    with pytest.raises(BadInputError, match="no such"):
        IMPORTERS[name](tmp_path / "nowhere", ASKED)
    with pytest.raises(BadInputError, match="folder is empty"):
        IMPORTERS[name](tmp_path, ASKED)


@pytest.mark.parametrize("name", [DONKEY, SIM, CH2])
def test_importers_find_a_folder_above_or_below_the_right_one(tmp_path, name):
    src = MAKE[name](tmp_path / "data" / "tub") if name == SIM else None
    if src is None:
        (tmp_path / "data").mkdir()
        src = MAKE[name](tmp_path / "data" / "tub")
    below = next(entry for entry in src.iterdir() if entry.is_dir())
    for place in (tmp_path, tmp_path / "data", below):
        np.testing.assert_array_equal(read(name, place).curvature_per_m, read(name, src).curvature_per_m)
    shutil.copytree(src, tmp_path / "data" / "other")
    with pytest.raises(BadInputError, match=r"holds 2 recordings \(other, tub\); import one of them"):
        read(name, tmp_path / "data")


def test_importers_donkeycar_clock_set_back_makes_two_pieces_in_the_order_recorded(tmp_path):
    src = make_donkeycar(tmp_path / "src", deleted=())
    for k in (3, 4, 5):
        path = src / f"catalog_{k // 4}.catalog"
        rewrite(path, str(1669759744666 + 50 * k), str(1669756000000 + 50 * k))
    drive = read(DONKEY, src)
    assert drive.segments() == [slice(0, 3), slice(3, 6)]
    np.testing.assert_array_equal(np.argsort(-drive.curvature_per_m), np.argsort(-read(DONKEY, src).curvature_per_m))
    np.testing.assert_allclose(np.diff(drive.timestamps_s), [0.05, 0.05, 60.0, 0.05, 0.05], atol=1e-6)


def test_importers_donkeycar_pilot_rows_carry_what_the_pilot_steered(tmp_path):
    src = make_donkeycar(tmp_path / "src", deleted=())
    rewrite(src / "catalog_0.catalog", '"user/angle": 0.25', '"user/mode": "local", "pilot/angle": -1, "user/angle": 0')
    drive = read(DONKEY, src)
    assert drive.curvature_per_m[1] == pytest.approx(np.tan(np.deg2rad(25)) / 0.25)
    assert "1 rows were steered by a pilot" in drive.meta.notes


def test_importers_donkeycar_another_size_keeps_the_view(tmp_path):
    small, large = make_donkeycar(tmp_path / "small"), make_donkeycar(tmp_path / "large")
    for k in range(6):
        cv2.imwrite(str(large / "images" / f"{k}_cam_image_array_.jpg"), picture(240, 320, k))
    a, b = read(DONKEY, small), read(DONKEY, large)
    assert np.abs(a.frames.astype(int) - b.frames).mean() < 3
    assert b.camera.horizon_v_px == pytest.approx(a.camera.horizon_v_px, abs=1.0)
    assert b.camera.focal_u_px == pytest.approx(a.camera.focal_u_px)


def test_importers_udacity_sim_two_runs_come_in_order_of_time(tmp_path):
    src = make_udacity_sim(tmp_path / "src")
    lines = (src / "driving_log.csv").read_text().splitlines()
    (src / "driving_log.csv").write_text("\n".join(lines[2:] + lines[:2]) + "\n")
    np.testing.assert_array_equal(
        read(SIM, src).curvature_per_m, read(SIM, make_udacity_sim(tmp_path / "b")).curvature_per_m
    )


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("0,000000,0,3,0,15,2", (0.0, 0.3, 0.0, 15.2)),
        ("-0,05,1,0,0,4", (-0.05, 1.0, 0.0, 0.4)),
        ("0,0,0,0,1", (0.0, 0.0, 0.0, 0.1)),
        ("0,25,0,0,7,30,19", (0.25, 0.0, 0.7, 30.19)),
        ("-1,0,5,0,30,2", (-1.0, 0.5, 0.0, 30.2)),
        ("3,3E-05,0,5,0,30,2", (3.3e-05, 0.5, 0.0, 30.2)),
    ],
)
def test_importers_udacity_sim_decimal_commas_by_hand(line, values):
    before_mph = 30.0 if values[3] > 1 else 0.2
    assert decimal_commas(line.split(","), before_mph) == pytest.approx(values)


@given(steering=st.floats(-1, 1), pedal=st.floats(-1, 1), speed=st.floats(0, 30), before=st.floats(-0.5, 0.5))
def test_importers_udacity_sim_decimal_commas_give_back_what_was_written(steering, pedal, speed, before):
    numbers = [round(steering, 6), round(max(pedal, 0), 6), round(max(-pedal, 0), 6), round(speed, 4)]
    texts = [f"{value:f}".rstrip("0").rstrip(".") for value in numbers]
    got = (
        decimal_commas(",".join(text.replace(".", ",") for text in texts).split(","), speed + before)
        if any("." in text for text in texts)
        else tuple(map(float, texts))
    )
    assert got[0] == pytest.approx(numbers[0]) or abs(got[3] - speed) <= abs(before) + 1e-3


def test_importers_udacity_sim_semicolons_with_decimal_commas(tmp_path):
    src = make_udacity_sim(tmp_path / "src")
    text = (src / "driving_log.csv").read_text().replace(".jpg", "#jpg").replace(",", ";").replace(".", ",")
    (src / "driving_log.csv").write_text(text.replace("#jpg", ".jpg"))
    good = read(SIM, make_udacity_sim(tmp_path / "good"))
    np.testing.assert_array_equal(read(SIM, src).curvature_per_m, good.curvature_per_m)
    np.testing.assert_array_equal(read(SIM, src).speed_mps, good.speed_mps)


def test_importers_udacity_sim_names_without_a_time_take_a_rate(tmp_path):
    src = make_udacity_sim(tmp_path / "src")
    text = (src / "driving_log.csv").read_text()
    for k in range(4):
        for camera in ("center", "left", "right"):
            old, new = f"{camera}_2020_05_09_22_16_58_{100 * k:03d}.jpg", f"{camera}_{k + 10:06d}.jpg"
            (src / "IMG" / old).rename(src / "IMG" / new)
            text = text.replace(old, new)
    (src / "driving_log.csv").write_text(text)
    drive = read(SIM, src, rate_hz=5.0)
    np.testing.assert_allclose(drive.timestamps_s, [2.0, 2.2, 2.4, 2.6])
    assert "5 frames a second" in drive.meta.notes


def test_importers_udacity_sim_center_camera_alone_as_png(tmp_path):
    src = make_udacity_sim(tmp_path / "src", header=True)
    table = (src / "driving_log.csv").read_text().splitlines()
    lines = ["center,steering,throttle,brake,speed"]
    for k, line in enumerate(table[1:]):
        fields = line.split(", ")
        name = fields[0].split("\\")[-1].replace(".jpg", ".png")
        cv2.imwrite(str(src / "IMG" / name), picture(160, 320, k))
        lines.append(",".join([name, *fields[3:]]))
    for old in (src / "IMG").glob("*.jpg"):
        old.unlink()
    (src / "driving_log.csv").write_text("\n".join(lines) + "\n")
    drive = read(SIM, src)
    assert len(drive) == 4
    np.testing.assert_allclose(drive.speed_mps, [0, 4.4704, 8.9408, 13.4112], rtol=1e-6)
    assert drive.meta.left_out == {}


def test_importers_video_numbers_by_hand(tmp_path):
    drive = read("video", make_video(tmp_path / "src"), columns=Columns(positive="right"))
    wheel_rad = np.deg2rad(1.5 * (np.arange(6) - 2))  # right positive in the file, so turned
    np.testing.assert_allclose(drive.curvature_per_m, np.tan(wheel_rad / 15) / 2.7, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(drive.timestamps_s, 0.05 * np.arange(6), atol=1e-9)
    np.testing.assert_allclose(drive.speed_mps, 10 + np.arange(6), rtol=1e-6)
    for said in ("column 'steering_wheel_deg'", "steering_wheel_deg", "times are in s", "kmh", "wheelbase 2.7 m"):
        assert said in drive.meta.notes


def test_importers_video_labels_are_interpolated_at_the_frames_times(tmp_path):
    src = make_video(tmp_path / "src")
    (src / "phone.csv").write_text("t_ms,curvature\n1000,0.0\n1100,0.01\n1200,0.02\n")
    drive = read("video", src, columns=Columns(time_column="t_ms", positive="left", start_s=1.0))
    np.testing.assert_allclose(drive.curvature_per_m[:5], [0, 0.005, 0.01, 0.015, 0.02], atol=1e-7)
    late = read("video", src, columns=Columns(time_column="t_ms", positive="left", start_s=1.5))
    assert (len(late), late.meta.left_out) == (5, {"frame without a label": 1})  # 0.5 s after the last label


def test_importers_video_frames_by_number_from_1(tmp_path):
    src = make_video(tmp_path / "src")
    (src / "phone.csv").write_text("frame,curvature\n" + "".join(f"{k + 1},{0.01 * k}\n" for k in range(6)))
    drive = read("video", src, columns=Columns(positive="left"))
    np.testing.assert_allclose(drive.curvature_per_m, 0.01 * np.arange(6), atol=1e-7)
    assert np.all(np.diff(drive.frames[:, :, :, 1].mean((1, 2))) > 5)


def test_importers_video_a_table_without_names_goes_by_its_values(tmp_path):
    src = make_video(tmp_path / "src")
    (src / "phone.csv").write_text("".join(f"{0.05 * k},{0.1 * k}\n" for k in range(6)))
    drive = read("video", src, columns=Columns(positive="left", steering_unit="road_wheel_rad"))
    np.testing.assert_allclose(drive.curvature_per_m, np.tan(0.1 * np.arange(6)) / 2.7, rtol=1e-5, atol=1e-8)


def test_importers_comma2k19_numbers_by_hand(tmp_path):
    src = make_comma2k19(tmp_path / "99c94dc769b5d96e|2018-05-01--08-13-53" / "7", right=0.03, down=0.02)
    recording = IMPORTERS["comma2k19"](src, ASKED)
    np.testing.assert_allclose(recording.timestamps_s, 100.0 + 0.05 * np.arange(6))
    angle = np.deg2rad(10.0 * 0.05 * np.arange(6))  # steering grows by 10 degrees a second
    np.testing.assert_allclose(recording.curvature_per_m, np.tan(angle / 15.4) / 2.70, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(recording.speed_mps, 20.0)
    assert recording.meta.vehicle.name == "Honda Civic"
    # Where the car drives to: 0.03 and 0.02 of the focal length right of and below the picture's middle.
    assert recording.meta.horizon == pytest.approx((436.5 + 910 * 0.02 + 0.5) / 874, abs=1e-3)
    assert "The poses give the vanishing point: column 609, row 455." in recording.meta.notes


def test_importers_comma2k19_route_and_chunk_hold_segments_in_order(tmp_path):
    chunk = tmp_path / "Chunk_1"
    route = chunk / "b0c9d2329ad1606b_2018-07-27--06-03-57"
    for number, first_s in ((10, 100.0), (9, 40.0)):
        make_comma2k19(route / str(number), first_s=first_s)
    (route / "11").mkdir()
    (route / "11" / "video.hevc").write_bytes(b"")
    for src in (route, chunk):
        recording = IMPORTERS["comma2k19"](src, ASKED)
        np.testing.assert_allclose(recording.timestamps_s[[0, 6]], [40.0, 100.0])
        assert [s.stop - s.start for s in recording.segments()] == [6, 6]
        assert recording.meta.vehicle.name == "Toyota RAV4"
        assert recording.left_out == {"segment 11: has no global_pose with the times of its frames": 1}
        grey = recording.drive().frames[..., 1].mean((1, 2))
        np.testing.assert_allclose(grey[:6], grey[6:], atol=1)


def test_importers_lerobot_and_back_keeps_labels_times_camera_and_car(tmp_path):
    make_donkeycar(tmp_path / "tub", n_rows=9, deleted=(3, 4))
    import_drive("donkeycar", tmp_path / "tub", tmp_path / "drive", Asked(78, 200))
    drive = load_table(tmp_path / "drive")
    write_lerobot(drive, tmp_path / "lerobot")
    back = IMPORTERS["lerobot"](tmp_path / "lerobot", Asked(78, 200))
    np.testing.assert_array_equal(back.timestamps_s, drive.timestamps_s)
    np.testing.assert_array_equal(back.curvature_per_m, drive.curvature_per_m)
    assert (back.camera, back.meta.vehicle, back.meta.source) == (drive.camera, drive.meta.vehicle, drive.meta.source)
    assert len(back.segments()) == len(drive.segments()) == 2
    assert np.abs(back.drive().frames.astype(int) - load(tmp_path / "drive").frames).mean() < 5
    with pytest.raises(BadInputError, match="is there already; name a new folder"):
        write_lerobot(drive, tmp_path / "lerobot")


def change_info(folder, **changes):
    path = folder / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def by_somebody_else(folder):
    """As other programs write it: no facts of ours, a normalised action among others, right positive, two cameras."""
    import pyarrow.parquet as pq

    (folder / "meta" / "drive.json").unlink()
    path = folder / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    kept = {name: table.column(name).to_numpy() for name in table.column_names if name != "observation.time_s"}
    n = len(table)
    kept["action"] = [[0.1 * k, -0.5 + 0.2 * k] for k in range(n)]
    kept["observation.vehicle"] = [[7.0 + k, 1.0, 2.0] for k in range(n)]
    pq.write_table(pa.table(kept), path)
    info = json.loads((folder / "meta" / "info.json").read_text())
    features = info["features"]
    del features["observation.time_s"]
    features["action"] = {"dtype": "float32", "shape": [2], "names": {"axes": ["throttle", "steering"]}}
    features["observation.vehicle"] = {"dtype": "float32", "shape": [3], "names": ["speed_kmh", "heading", "accuracy"]}
    features["observation.images.rear"] = features["observation.images.front"]
    change_info(folder, features=features)


def test_importers_lerobot_of_others_finds_steering_speed_and_camera_by_their_names(tmp_path):
    src = make_lerobot(tmp_path / "src")
    by_somebody_else(src)
    recording = IMPORTERS["lerobot"](src, Asked(*SIZE, rig=Rig(full_lock_deg=30.0), columns=Columns(positive="right")))
    lock = np.deg2rad(30.0) * (-0.5 + 0.2 * np.arange(6))
    np.testing.assert_allclose(recording.curvature_per_m, np.tan(-lock) / 2.7, rtol=1e-5)
    np.testing.assert_allclose(recording.speed_mps, (7.0 + np.arange(6)) / 3.6, rtol=1e-6)
    np.testing.assert_allclose(recording.timestamps_s, 0.05 * np.arange(6), atol=1e-6)
    assert "camera is observation.images.front" in recording.meta.notes
    assert "steering is column 'action.steering'" in recording.meta.notes
    with pytest.raises(BadInputError, match="no camera 'left'; it has observation"):
        IMPORTERS["lerobot"](src, Asked(*SIZE, columns=Columns(picture_column="left")))


def test_importers_lerobot_version_2_has_a_file_an_episode(tmp_path):
    src = make_lerobot(tmp_path / "src")
    (src / "videos/chunk-000/observation.images.front").mkdir(parents=True)
    shutil.move(
        src / "videos/observation.images.front/chunk-000/file-000.mp4",
        src / "videos/chunk-000/observation.images.front/episode_000000.mp4",
    )
    shutil.move(src / "data/chunk-000/file-000.parquet", src / "data/chunk-000/episode_000000.parquet")
    shutil.rmtree(src / "meta/episodes")
    pattern = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    change_info(src, codebase_version="v2.1", video_path=pattern, total_episodes=1, chunks_size=1000)
    np.testing.assert_allclose(read("lerobot", src).curvature_per_m, 0.1 * (np.arange(6) - 2), atol=1e-6)


def test_importers_lerobot_a_pattern_never_leads_out_of_the_data_set(tmp_path):
    src = make_lerobot(tmp_path / "src")
    for pattern in (
        "../../etc/{video_key}.mp4",
        "/etc/passwd",
        "{video_key.__class__}/{nothing}",
        "{chunk_index:99999999}",
    ):
        change_info(src, video_path=pattern)
        with pytest.raises(BadInputError, match=r"video_path: expected a pattern of paths|cannot be read \('nothing'"):
            IMPORTERS["lerobot"](src, ASKED)


def encode(path, shown_at, size=(96, 160), codec="libx264", options=None, rotate=None, audio=False):
    """A video whose frame k, grey 10 k + 20, is shown at ``shown_at[k]`` milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv444p" if size[1] % 2 else "yuv420p"
        stream.options = options or {}
        stream.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=8000, layout="mono") if audio else None
        for k, at in enumerate(shown_at):
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), 10 * k + 20, np.uint8), format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(sound.encode(frame))
            container.mux(sound.encode())


STEADY = [50 * k for k in range(12)]
VIDEOS = {
    "variable rate": {"shown_at": [0, 50, 90, 200, 210, 300, 380, 400, 470, 500, 590, 640]},
    "B-frames": {"shown_at": STEADY, "options": {"bf": "3", "g": "12"}},
    "odd size": {"shown_at": STEADY, "size": (97, 161)},
    "audio": {"shown_at": STEADY, "audio": True},
    "another codec": {"shown_at": STEADY, "codec": "mpeg4"},
}


@pytest.mark.parametrize("kind", VIDEOS)
def test_importers_video_frame_k_is_row_k_in_every_kind_of_video(tmp_path, kind):
    encode(tmp_path / "v.mp4", **VIDEOS[kind])
    shown_at = VIDEOS[kind]["shown_at"]
    (tmp_path / "v.csv").write_text("time_ms,curvature\n" + "".join(f"{t},{t * 1e-5}\n" for t in shown_at))
    drive = read("video", tmp_path / "v.mp4", columns=Columns(positive="left"))
    np.testing.assert_allclose(drive.timestamps_s, np.array(shown_at) / 1000, atol=1e-3)
    np.testing.assert_allclose(drive.curvature_per_m, np.array(shown_at) * 1e-5, atol=1e-7)
    np.testing.assert_allclose(drive.frames.mean((1, 2, 3)), 10 * np.arange(12) + 20, atol=4)


def test_importers_video_is_turned_as_its_mark_says(tmp_path):
    """A phone held upright records lying pictures and a mark; row 0 of what is shown was the left or right side."""
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.height, stream.width, stream.pix_fmt = 160, 96, "yuv420p"
        for _ in range(4):
            lying = np.zeros((160, 96, 3), np.uint8)
            lying[:, :48] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(lying, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray((tmp_path / "v.mp4").read_bytes())
    matrix = data.index(b"tkhd") + 44  # of the track's header, ISO 14496-12: 16.16 numbers a, b, u, c, d, ...
    one = 1 << 16
    turned = [0, one, 0, -one, 0, 0, 160 * one, 0, 1 << 30]  # a quarter clockwise
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in turned)
    (tmp_path / "v.mp4").write_bytes(data)
    (tmp_path / "v.csv").write_text("frame,curvature\n0,0.01\n1,0.02\n2,0.03\n3,0.04\n")
    video = open_video(tmp_path / "v.mp4")
    assert video.size() == (96, 160)
    shown = next(video.frames([0]))
    assert shown[:40].mean() > 150  # the left half came up
    assert shown[56:].mean() < 30
    assert len(read("video", tmp_path / "v.mp4", columns=Columns(positive="left"))) == 4


def test_importers_video_cut_short_keeps_what_can_be_decoded(tmp_path):
    encode(tmp_path / "v.mkv", STEADY, options={"g": "1"})
    whole = (tmp_path / "v.mkv").read_bytes()
    (tmp_path / "v.mkv").write_bytes(whole[: int(0.7 * len(whole))])
    (tmp_path / "v.csv").write_text("frame,curvature\n" + "".join(f"{k},{k * 1e-3}\n" for k in range(12)))
    drive = read("video", tmp_path / "v.mkv", columns=Columns(positive="left"))
    assert 2 <= len(drive) < 12
    np.testing.assert_allclose(drive.curvature_per_m, 1e-3 * np.arange(len(drive)), atol=1e-7)
    np.testing.assert_allclose(drive.frames.mean((1, 2, 3)), 10 * np.arange(len(drive)) + 20, atol=4)
    assert sum(drive.meta.left_out.values()) == 12 - len(drive)


def test_importers_video_sign_is_read_from_the_scenery(tmp_path):
    """A textured scene that moves right while the wheel is at positive angles: they mean left."""
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.integers(0, 255, (96, 2000), np.uint8), (0, 0), 2)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
    angle = np.sin(np.arange(80) / 6)
    at = np.cumsum(-4 * angle) + 900
    for sign, side in ((1, "left"), (-1, "right")):
        folder = tmp_path / side
        folder.mkdir()
        with av.open(str(folder / "v.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=20)
            stream.height, stream.width, stream.pix_fmt = 96, 160, "yuv420p"
            for k in range(80):
                picture = np.repeat(scene[:, round(at[k]) : round(at[k]) + 160, None], 3, axis=2)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
            container.mux(stream.encode())
        (folder / "v.csv").write_text("steering_wheel_rad\n" + "".join(f"{sign * a}\n" for a in angle))
        drive = read("video", folder)
        assert f"positive steering is {side}, by the scenery's motion" in drive.meta.notes
        np.testing.assert_allclose(drive.curvature_per_m, np.tan(angle / 15) / 2.7, rtol=1e-5)


def test_importers_pictures_text_file_and_rate(tmp_path):
    src = make_pictures(tmp_path / "src")
    (src / "labels.csv").unlink()
    (src / "data.txt").write_text("".join(f"{k}.png {0.1 * k - 0.2:.6f}\n" for k in range(6)))
    drive = read("pictures", src, rate_hz=30.0, columns=Columns(positive="right", steering_unit="road_wheel_rad"))
    np.testing.assert_allclose(np.diff(drive.timestamps_s), 1 / 30)
    np.testing.assert_allclose(drive.curvature_per_m, -np.tan(0.1 * np.arange(6) - 0.2) / 2.7, atol=1e-6)


def test_importers_rig_by_file_and_option(tmp_path):
    src = make_video(tmp_path / "src")
    (src / "camera.toml").write_text("fov_deg = 90.0\nwheelbase_m = 0.5\nhorizon_px = 100\n")
    columns = Columns(positive="left")
    by_file = read("video", src, columns=columns)
    assert by_file.meta.vehicle.wheelbase_m == 0.5
    assert by_file.camera.focal_u_px == pytest.approx(160 * 100 / 320)
    assert "wheelbase" not in by_file.meta.notes
    both = read("video", src, columns=columns, rig=Rig(wheelbase_m=3.0, focal_px=320.0))
    assert both.meta.vehicle.wheelbase_m == 3.0
    assert both.camera.focal_u_px == pytest.approx(100)
    (src / "camera.toml").write_text("fov = 90.0\n")
    with pytest.raises(BadInputError, match=r"camera\.toml: unknown key 'fov'; known: fov_deg"):
        read("video", src, columns=columns)


@pytest.mark.parametrize(
    ("unit", "value", "kappa"),
    [
        ("curvature_per_m", 0.02, 0.02),
        ("road_wheel_rad", 0.1, np.tan(0.1) / 2.0),
        ("road_wheel_deg", 5.0, np.tan(np.deg2rad(5)) / 2.0),
        ("steering_wheel_rad", 1.0, np.tan(1 / 10) / 2.0),
        ("steering_wheel_deg", 90.0, np.tan(np.pi / 20) / 2.0),
        ("normalized", -0.5, -np.tan(np.deg2rad(15)) / 2.0),
        ("normalized", 1.00003, np.tan(np.deg2rad(30)) / 2.0),
        ("normalized", 1.5, np.nan),
        ("road_wheel_deg", 90.0, np.nan),
    ],
)
def test_steering_units_by_hand(unit, value, kappa):
    vehicle = VehicleFacts("cart", 2.0, 10.0, np.deg2rad(30))
    assert curvature(value, SteeringUnit(unit), vehicle) == pytest.approx(kappa, nan_ok=True)
    with pytest.raises(BadInputError, match="needs the car's"):
        needed(SteeringUnit.NORMALIZED, VehicleFacts("cart", 2.0))


def test_horizon_is_found_by_motion_in_our_own_world():
    env = gymnasium.make("lane/Procedural-v0", family="country", weather="clear", season="summer")
    frame, _ = env.reset(seed=11)
    pictures, steering = [], []
    for _ in range(120):
        pictures.append(frame)
        steering.append(env.unwrapped.expert_curvature_per_m())
        frame, _, terminated, truncated, _ = env.step(np.array([steering[-1]], np.float32))
        if terminated or truncated:
            break
    u_px, v_px = vanishing_point(enumerate(pictures), np.array(steering))
    assert v_px == pytest.approx(26.0, abs=3.0)
    assert u_px == pytest.approx(99.5, abs=8.0)
    assert vanishing_point(enumerate([pictures[0]] * 60), np.zeros(60)) is None  # it stands: nothing tells


CASES = Path(__file__).parents[2] / "shared" / "cases"
RIGHT = {
    "donkeycar/tub-320x240": (30, 0),
    "donkeycar/tub-null-angle": (28, 2),
    "donkeycar/tub-joystick-full-left": (50, 0),
    "donkeycar/tub-clock-back": (80, 0),
    "donkeycar/tub-torn-line": (39, 2),
    "donkeycar/tub-more-images": (30, 2),
    "donkeycar/tub-pilot-mode": (60, 0),
    "donkeycar/tub-crlf": (30, 0),
    "udacity-sim/decimal-comma": (30, 0),
    "udacity-sim/deleted-pictures": (29, 1),
    "udacity-sim/two-runs": (60, 0),
    "udacity-sim/index-names": (30, 0),
}


@pytest.mark.external
@pytest.mark.parametrize("case", RIGHT)
def test_importers_recordings_as_people_have_them(case):
    if not (CASES / case).is_dir():
        pytest.skip(f"the recording {CASES / case} is not there")
    recording = IMPORTERS[case.split("/")[0]](CASES / case, ASKED)
    drive = recording.drive()
    assert (len(drive), sum(drive.meta.left_out.values())) == RIGHT[case]
    assert np.abs(drive.curvature_per_m).max() > 0.01


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
    drive = in_memory("udacity-ch2", recorded("udacity-ch2") / "c", 156, 400)
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
    drive = in_memory("udacity-sim", recorded("udacity-sim"), 78, 200)
    assert len(drive) == 613
    assert drive.segments() == [slice(0, 613)]
    assert np.median(drive.dt_s()) == pytest.approx(0.113, abs=1e-3)
    assert drive.speed_mps.max() == pytest.approx(13.5, abs=0.1)
    assert flow_curvature_correlation(drive, 1, slice(120, 490)) > 0.5


@pytest.mark.external
def test_importers_donkeycar_real_tub():
    src = recorded("donkeycar-tub")
    drive = in_memory("donkeycar", src, 78, 200)
    assert len(drive) == json.loads((src / "manifest.json").read_text().splitlines()[-1])["current_index"]
    assert len(drive.segments()) > 1
    assert np.median(drive.dt_s()) == pytest.approx(0.05, abs=1e-3)
    assert flow_curvature_correlation(drive, 4, slice(0, 1000)) > 0.5
