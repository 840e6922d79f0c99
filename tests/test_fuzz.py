import subprocess
import sys
from pathlib import Path

import pytest

from sim.errors import BadInputError
from tests import fuzz

ROOT = Path(__file__).parents[1]


@pytest.fixture
def case(tmp_path, monkeypatch):
    """Run one case of a reader; it may end anywhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "a.json").write_text('{"a": [1, 2], "b": "text"}')

    def run(reader, number=0):
        monkeypatch.setitem(fuzz.KINDS, "drives", (None, lambda name, folder: reader(folder)))
        return fuzz.run_case("drives", number, [("one", tmp_path / "base")], tmp_path / "place")

    return run


def raises(error):
    def reader(folder):
        raise error

    return reader


def test_fuzz_tells_a_clear_line_from_what_is_none(case):
    assert case(lambda folder: None) == fuzz.FINE
    assert case(raises(BadInputError("a: expected b, got c; do d"))) == fuzz.REFUSED
    assert case(raises(BadInputError("two\nlines"))).startswith("no clear line")
    assert case(raises(BadInputError(""))).startswith("no clear line")
    assert case(raises(KeyError("x"))).startswith("KeyError: \"'x'\" (test_fuzz.py:")


def test_fuzz_spoils_a_copy_in_many_ways_and_repeats_them(case, tmp_path):
    def read(folder):
        path = folder / "a.json"
        seen.append(path.read_bytes() if path.is_file() else None)

    seen = []
    for number in range(60):
        case(read, number)
    assert len({*seen}) > 35
    first = list(seen)
    seen.clear()
    for number in range(60):
        case(read, number)
    assert seen == first
    assert (tmp_path / "base" / "a.json").read_text() == '{"a": [1, 2], "b": "text"}'


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["recordings", "drives", "checkpoints", "commands"])
def test_fuzz_finds_nothing_in_a_small_sample(kind):
    words = ["--kind", kind, "--n", "30" if kind == "commands" else "150", "--workers", "1", "--first", "1000"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
