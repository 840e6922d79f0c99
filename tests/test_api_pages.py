"""Pages of the Python API: every module that can be imported has one."""

import sys

import pytest

from driving import api_pages


def test_api_pages_leave_out_what_extras_bring_alone(monkeypatch):
    good, missing = api_pages.modules()
    assert {"sim.road", "driving.models.ltc", "driving.runtime.driver"} <= set(good)
    assert not any(name.startswith("driving.commands") for name in good)
    assert set(missing) <= {"sim.adapters.metadrive_engine", "sim.adapters.metadrive_terrain", "driving.sb3",
                            "driving.serve.app"}  # fmt: skip


@pytest.mark.slow
def test_api_pages_are_written_from_the_docstrings(tmp_path, capsys):
    pytest.importorskip("pdoc", reason="needs the extra docs")
    folder = tmp_path / "api"
    assert api_pages.main(["--out", str(folder)]) == 0
    assert "modules" in capsys.readouterr().out
    assert "PurePursuit" in (folder / "sim" / "expert.html").read_text()
    assert (folder / "index.html").is_file()


def test_api_pages_never_take_the_place_of_something_else(tmp_path, capsys, monkeypatch):
    pytest.importorskip("pdoc", reason="needs the extra docs")
    (tmp_path / "mine.txt").write_text("mine")
    assert api_pages.main(["--out", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "mine"
    monkeypatch.setitem(sys.modules, "pdoc", None)
    assert api_pages.main(["--out", str(tmp_path / "new")]) == 2
    assert "pip install 'liquid-lane[docs]'" in capsys.readouterr().err
