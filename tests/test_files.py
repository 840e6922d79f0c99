import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sim import files
from sim.cache_folder import cache_folder
from sim.errors import BadInputError
from sim.files import LEFT_AFTER_S, new_folder, recover, write_json, write_text


def test_files_text_is_written_and_folders_are_made(tmp_path):
    path = tmp_path / "new" / "deep" / "a.txt"
    write_text(path, "eins\nzwei ü\n")
    assert path.read_text(encoding="utf-8") == "eins\nzwei ü\n"
    write_text(path, "again")
    assert path.read_text() == "again"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_files_have_the_permissions_of_an_ordinary_file(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)


def test_files_json_is_strict(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None], "name": "x"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, 2.5, None], "name": "x"}
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON compliant"):
            write_json(tmp_path / "a.json", {"b": value})
    assert json.loads((tmp_path / "a.json").read_text())["name"] == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_files_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.Path, "replace", full)
        with pytest.raises(BadInputError, match="No space left"):
            write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("place", ["file/a.json", "file/deep/a.json"])
def test_files_place_that_cannot_be_written_is_a_clear_error(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match=r"cannot be written \(.+\); .*choose another place"):
        write_json(tmp_path / place, {})


def test_files_folder_in_the_place_is_a_clear_error(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(BadInputError, match="cannot be written"):
        write_text(tmp_path / "a.json", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep caches elsewhere")
def test_files_cache_folder_follows_the_users_setting(monkeypatch, tmp_path):
    monkeypatch.setenv("LIQUID_LANE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("LIQUID_LANE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "liquid-lane"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "liquid-lane"


def fill(folder, text):
    with new_folder(folder) as unfinished:
        (unfinished / "a").write_text(text)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_new_folder_is_whole_or_not_there(tmp_path):
    fill(tmp_path / "d", "first")
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "d") as unfinished:
        (unfinished / "a").write_text(f"{1 / 0}")
    assert (tmp_path / "d" / "a").read_text() == "first"
    fill(tmp_path / "d", "third")
    assert (tmp_path / "d" / "a").read_text() == "third"
    assert names(tmp_path) == ["d"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_new_folder_replaces_the_whole_folder(tmp_path, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr("sim.files._exchange", lambda a, b: False)
    fill(tmp_path / "d", "first")
    (tmp_path / "d" / "more").write_text("x")
    fill(tmp_path / "d", "second")
    assert names(tmp_path / "d") == ["a"]
    assert names(tmp_path) == ["d"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can exchange two names")
def test_new_folder_is_exchanged_in_one_step(tmp_path, monkeypatch):
    """No moment without either: nothing is renamed away before the new one is there."""
    fill(tmp_path / "d", "first")
    monkeypatch.setattr(Path, "replace", lambda *_: pytest.fail("a rename in two steps"))
    fill(tmp_path / "d", "second")
    assert (tmp_path / "d" / "a").read_text() == "second"


KILLED = """
import os, signal, sys
from pathlib import Path
from sim import files
folder, where = Path(sys.argv[1]), sys.argv[2]
files._exchange = lambda a, b: False
if where == "between":
    rename = Path.replace
    def replace(self, target):
        if self.name.endswith(".partial"):
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)
    Path.replace = replace
if where == "while writing":
    with files.new_file(folder) as unfinished:
        unfinished.write_text("second")
        os.kill(os.getpid(), signal.SIGKILL)
with files.new_folder(folder) as unfinished:
    (unfinished / "a").write_text("second")
    if where == "while filling":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("where", ["while filling", "between"])
def test_new_folder_of_a_killed_run_is_put_right_by_the_next(tmp_path, where):
    fill(tmp_path / "d", "first")
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "d", where], check=False)
    assert len(names(tmp_path)) > 1 or names(tmp_path) != ["d"]
    recover(tmp_path / "d")
    assert (tmp_path / "d" / "a").read_text() == "first"
    assert names(tmp_path) == ["d"]


def test_new_folder_leaves_alone_what_another_process_is_filling(tmp_path):
    with new_folder(tmp_path / "d") as unfinished:
        recover(tmp_path / "d")
        (unfinished / "a").write_text("mine")
        (tmp_path / ".d.txt.partial").write_text("not ours")
        (tmp_path / ".d.e.abcdefgh.partial").mkdir()
        recover(tmp_path / "d")
    assert (tmp_path / "d" / "a").read_text() == "mine"
    assert ".d.e.abcdefgh.partial" in names(tmp_path)


def test_new_file_of_a_killed_run_leaves_nothing_for_long(tmp_path):
    write_text(tmp_path / "d", "first")
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "d", "while writing"], check=False)
    assert len(names(tmp_path)) == 2
    assert (tmp_path / "d").read_text() == "first"
    write_text(tmp_path / "d", "third")
    assert (tmp_path / "d").read_text() == "third"
    assert names(tmp_path) == ["d"]


def test_files_many_processes_write_one_name(tmp_path):
    """None takes what another is still writing for something left behind."""
    code = "import sys; from pathlib import Path; from sim.files import write_text\nfor i in range(200): write_text("
    code += "Path(sys.argv[1]), sys.argv[2] * 4000)"
    writers = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "d", letter]) for letter in "abcd"]
    assert [writer.wait() for writer in writers] == [0] * 4
    assert len(set((tmp_path / "d").read_text())) == 1
    assert names(tmp_path) == ["d"]


def test_files_without_locks_tell_by_age_what_was_left(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    left, other = tmp_path / ".d.abcdefgh.partial", tmp_path / ".d.ijklmnop.partial"
    for folder, age_s in ((left, LEFT_AFTER_S + 60), (other, LEFT_AFTER_S - 60)):
        folder.mkdir()
        (folder / "d").write_text("half")
        for entry in (folder / "d", folder):
            os.utime(entry, (time.time() - age_s,) * 2)
    write_text(tmp_path / "d", "whole")
    assert names(tmp_path) == [other.name, "d"]
