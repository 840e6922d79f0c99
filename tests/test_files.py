import json
import math
import os
import sys

import pytest

from sim import files
from sim.cache_folder import cache_folder
from sim.errors import BadInputError
from sim.files import write_json, write_text


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
