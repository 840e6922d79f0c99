"""Frames of drives mapped from disk: the same as in memory, made once, and gone when the video is another."""

import os
import resource
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from driving.data import Windows, policy_frames
from sim import frame_cache
from sim.drive import find_drives, load, save
from sim.errors import BadInputError
from sim.files import new_file
from sim.frame_cache import cached_drive, frames_folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIQUID_LANE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(frame_cache, "WORTH_SAYING_BYTES", 0)


@pytest.fixture
def folder(make_drive, tmp_path):
    save(make_drive(9, size=(78, 200)), tmp_path / "d")
    return tmp_path / "d"


@pytest.mark.parametrize("size", [(78, 200), (39, 100), (156, 400)])
def test_frame_cache_holds_what_memory_would(folder, size):
    mapped, whole = cached_drive(f"{folder}@2:7", *size), load(folder, slice(2, 7))
    np.testing.assert_array_equal(mapped.frames, policy_frames(whole, *size))
    np.testing.assert_array_equal(mapped.curvature_per_m, whole.curvature_per_m)
    np.testing.assert_array_equal(mapped.timestamps_s, whole.timestamps_s)
    assert mapped.camera == whole.camera.resized(*size)
    assert not mapped.frames.flags.writeable


def test_frame_cache_is_made_once_and_its_size_is_said_before(folder):
    said = []
    for _ in range(3):
        cached_drive(str(folder), 39, 100, said.append)
    assert len(said) == 1
    assert "9 frames go to a cache of 0.00 GB in" in said[0]
    assert [path.suffix for path in frames_folder().iterdir()] == [".npy"]


def test_frame_cache_belongs_to_the_content_not_to_the_place(folder, make_drive, tmp_path):
    first = cached_drive(str(folder), 39, 100).frames.copy()
    shutil.copytree(folder, tmp_path / "copy")
    said = []
    np.testing.assert_array_equal(cached_drive(str(tmp_path / "copy"), 39, 100, said.append).frames, first)
    assert not said
    drive = make_drive(9, size=(78, 200))
    drive.frames[:] = 255 - drive.frames
    save(drive, folder, overwrite=True)
    second = cached_drive(str(folder), 39, 100, said.append).frames
    assert len(said) == 1
    assert np.abs(second.astype(int) - first).mean() > 10


def test_frame_cache_of_a_cut_file_is_an_error_in_one_line(folder):
    cached_drive(str(folder), 39, 100)
    path = next(frames_folder().iterdir())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadInputError, match="remove it, and it is made anew"):
        cached_drive(str(folder), 39, 100)


def test_frame_cache_needs_room(folder, monkeypatch):
    monkeypatch.setattr(frame_cache.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 0, 1000))
    with pytest.raises(BadInputError, match=r"0\.00 GB are free; make room or set LIQUID_LANE_CACHE"):
        cached_drive(str(folder), 39, 100)
    assert not list(frames_folder().parent.rglob("*.npy"))


def test_frame_cache_of_long_ago_and_of_killed_runs_makes_room(folder):
    caches, now_s, day_s = frames_folder(), time.time(), 24 * 3600
    kept = []
    for age_days, path, is_kept in [
        (59, "used.npy", True),
        (61, "old.npy", False),
        (0, ".killed.npy.a1b2c3d4.partial/killed.npy", False),
        (90, "notes.txt", True),
    ]:
        (caches / path).parent.mkdir(parents=True, exist_ok=True)
        (caches / path).write_bytes(b"x")
        os.utime(caches / path, (now_s - age_days * day_s,) * 2)
        kept += [caches / path] if is_kept else []
    with new_file(caches / "being.npy") as unfinished:
        cached_drive(str(folder), 78, 200)
        assert unfinished.is_file()
    left = {path for path in caches.rglob("*") if path.is_file()}
    assert left > set(kept)
    assert len(left) == len(kept) + 2  # the drive's and the one that was being made
    assert not list(caches.glob(".killed*"))


def test_frame_cache_windows_are_those_of_memory(folder):
    a, b = Windows([cached_drive(str(folder), 78, 200)], 4), Windows([load(folder)], 4)
    for seed in range(3):
        np.testing.assert_array_equal(a.sample(2, (seed,)).frames, b.sample(2, (seed,)).frames)


MEASURE = """
import sys
import numpy as np
from sim.frame_cache import release
frames = np.load(sys.argv[1], mmap_mode="r")
def resident():
    return sum(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) // 1024
before, peak = resident(), 0
for k in range(len(frames)):
    frames[k].sum()
    release(frames)
    peak = max(peak, resident())
print(peak - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_frame_cache_release_keeps_the_memory_small(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((200, 1 << 20), np.uint8))
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "f.npy"], capture_output=True, text=True, check=True
    ).stdout
    assert int(out) < 60, f"{out} MB of 200 MB are held; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}"


def test_find_drives_takes_patterns(make_drive, tmp_path):
    for name in ("b", "a", "x"):
        save(make_drive(3, size=(8, 20)), tmp_path / name)
    (tmp_path / "no_drive").mkdir()
    assert find_drives([f"{tmp_path}/[ab]"]) == [f"{tmp_path}/a", f"{tmp_path}/b"]
    assert find_drives([f"{tmp_path}/*@0:2"]) == [f"{tmp_path}/{name}@0:2" for name in "abx"]
    assert find_drives([f"{tmp_path}/x", f"{tmp_path}/*"])[0] == f"{tmp_path}/x"
    assert len(find_drives([f"{tmp_path}/x", f"{tmp_path}/*"])) == 3
    with pytest.raises(BadInputError, match="no drive fits this pattern"):
        find_drives([f"{tmp_path}/none*"])
