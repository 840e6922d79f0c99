"""The library of painted pictures: right pictures whatever happens to its file, painted once."""

import multiprocessing
import os
import time

import numpy as np
import pytest

from sim import cache_folder as cache_module
from sim.cache_folder import cache_folder
from sim.roadside import library as library_module
from sim.roadside.library import HEADER_BYTES, MAX_LAMPS, MAX_LEVELS, SLOT_BYTES, Library, library_path
from sim.roadside.sprites import SPRITES, indices, sprite

CAR, TREE, LAMP = (indices("car", "spring")[2] + 7, indices("leafy", "autumn")[1], indices("lamp_post", "spring")[0])
SOME = [CAR, TREE, LAMP]


def texels_of(library, index, level):
    library.look_up(index)
    library.load(index, level)
    offset, n_rows, n_columns = library.places[index, level]
    return library.texels[offset : offset + n_rows * n_columns].reshape(n_rows, n_columns)


def assert_right(library, chosen=SOME):
    for index in chosen:
        painted = sprite(index)
        for level in (0, 2, len(painted.mips) - 1):
            mip = painted.mips[level]
            np.testing.assert_array_equal(
                texels_of(library, index, level), np.ascontiguousarray(mip).view("<u4")[..., 0]
            )
        assert library.n_levels[index] == len(painted.mips)
        assert (library.places["n_rows"][index, library.n_levels[index] :] == -1).all()
        first, last = library.lamps_of[index]
        lamps = [(lamp.x, lamp.y, lamp.radius_m, *lamp.colour) for lamp in painted.lamps]
        assert library.lamps[first:last].tolist() == [list(lamp) for lamp in lamps]


def test_library_holds_what_was_painted_and_paints_it_once(tmp_path):
    first = Library(tmp_path / "pictures")
    assert_right(first)
    assert first.n_painted > 0
    again = Library(tmp_path / "pictures")
    assert_right(again)
    assert again.n_painted == 0


def test_library_places_are_unknown_until_they_are_loaded(tmp_path):
    library = Library(tmp_path / "pictures")
    library.look_up(CAR)
    assert (library.places["offset"][CAR] == -1).all()
    library.load(CAR, 3)
    assert (library.places["offset"][CAR] >= 0).tolist() == [level == 3 for level in range(MAX_LEVELS)]


def test_library_room_is_enough_for_every_kind():
    largest = {entry.name: i for i, entry in enumerate(SPRITES)}  # the last view of the last variant
    for i in [*largest.values(), *range(0, len(SPRITES), 97)]:
        painted = sprite(i)
        assert HEADER_BYTES + sum(mip.nbytes for mip in painted.mips) <= SLOT_BYTES
        assert len(painted.mips) <= MAX_LEVELS
        assert len(painted.lamps) <= MAX_LAMPS


def test_library_file_takes_only_what_is_used(tmp_path):
    library = Library(tmp_path / "pictures")
    texels_of(library, LAMP, 4)
    used = (tmp_path / "pictures").stat().st_blocks * 512
    assert used < 100_000
    assert (tmp_path / "pictures").stat().st_size == len(SPRITES) * SLOT_BYTES


def test_library_without_a_file_is_in_memory():
    library = Library(None)
    assert_right(library)
    assert_right(library)


@pytest.mark.skipif(os.name != "posix", reason="files are kept on POSIX systems only")
@pytest.mark.parametrize("change", ["texels", "facts", "checksum", "cut", "emptied", "garbage"])
def test_library_damaged_file_is_mended(tmp_path, change):
    path = tmp_path / "pictures"
    before = Library(path)
    assert_right(before)
    before.close()
    with path.open("r+b") as file:
        slot = CAR * SLOT_BYTES
        if change == "texels":
            file.seek(slot + HEADER_BYTES + 1000)
            file.write(b"damage")
        elif change == "facts":
            file.seek(slot + 20)
            file.write(b"\xff\xff\xff\xff")
        elif change == "checksum":
            file.seek(slot)
            file.write(b"\x01\x02\x03\x04")
        elif change == "cut":
            file.truncate(slot + HEADER_BYTES + 5000)
        elif change == "emptied":
            file.truncate(0)
        else:
            file.write(np.random.default_rng(0).bytes(3 * SLOT_BYTES))
    mended = Library(path)
    assert_right(mended, [*SOME, 0, 1])
    assert mended.n_painted > 0
    again = Library(path)
    assert_right(again, [*SOME, 0, 1])
    assert again.n_painted == 0


def test_library_read_only_or_impossible_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LIQUID_LANE_CACHE", str(tmp_path / "file" / "below"))
    (tmp_path / "file").write_text("in the way")
    assert library_path() is None
    assert_right(Library(tmp_path / "file" / "below" / "pictures"))
    # Root may write where others may not, so the system's refusal is played.
    path, real_open = tmp_path / "pictures", os.open
    assert_right(Library(path), [TREE])

    def read_only(name, flags, *rest):
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real_open(name, flags, *rest)

    monkeypatch.setattr(library_module.os, "open", read_only)
    library = Library(path)
    assert_right(library)
    assert library.n_painted > 0  # the car and the lamp, each time; the tree was there


def test_library_full_disk(tmp_path, monkeypatch):
    real_write, n_written = os.pwrite, 0

    def full(file, data, place):
        nonlocal n_written
        n_written += 1
        if n_written > 3:
            real_write(file, data[: len(data) // 2], place)
            raise OSError(28, "No space left on device")
        return real_write(file, data, place)

    monkeypatch.setattr(library_module.os, "pwrite", full)
    library = Library(tmp_path / "pictures")
    assert_right(library)
    monkeypatch.undo()
    again = Library(tmp_path / "pictures")
    assert_right(again)
    assert again.n_painted > 0


def fill(path, barrier, answers):
    library = Library(path)
    barrier.wait(60)
    for index in SOME * 3:
        texels_of(library, index, 0)
    try:
        assert_right(library)
        answers.put("right")
    except BaseException as error:
        answers.put(repr(error))


def test_library_two_processes_that_fill_it_at_once(tmp_path):
    context = multiprocessing.get_context("forkserver")
    barrier, answers = context.Barrier(2), context.Queue()
    workers = [context.Process(target=fill, args=(tmp_path / "pictures", barrier, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=60) for _ in workers] == ["right", "right"]
    for worker in workers:
        worker.join()
    library = Library(tmp_path / "pictures")
    assert_right(library)
    assert library.n_painted == 0


def test_library_of_another_version_is_another_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LIQUID_LANE_CACHE", str(tmp_path))
    path = library_path()
    monkeypatch.setattr(library_module.cv2, "__version__", "0.0")
    other = library_path()
    assert path != other
    path.touch()
    old_s = time.time() - 40 * 24 * 3600
    os.utime(path, (old_s, old_s))
    (tmp_path / "mine.txt").touch()
    os.utime(tmp_path / "mine.txt", (old_s, old_s))
    library_path()
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]  # unused for a month


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"LIQUID_LANE_CACHE": "/a"}, "/a"),
        ("linux", {"XDG_CACHE_HOME": "/b"}, "/b/liquid-lane"),
        ("linux", {}, "/home/me/.cache/liquid-lane"),
        ("darwin", {"XDG_CACHE_HOME": "/b"}, "/home/me/Library/Caches/liquid-lane"),
        ("win32", {"LOCALAPPDATA": "/c"}, "/c/liquid-lane/cache"),
    ],
)
def test_cache_folder_is_the_systems(monkeypatch, platform, variables, expected):
    for name in ("LIQUID_LANE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cache_module.sys, "platform", platform)
    assert str(cache_folder()) == expected
