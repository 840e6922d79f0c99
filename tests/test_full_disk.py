"""A disk that fills up while something is written: one line, nothing half written, the source as it was."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim import drive as drive_io
from tests.conftest import _make_drive
from tests.test_importers import make_pictures, make_video

LIMITED = """
import resource, signal, sys
from driving.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""
WRITERS = {
    "import video": "import video {video} {out} --height 78 --width 200 --positive left",
    "import pictures": "import pictures {pictures} {out} --height 78 --width 200 --positive left",
    "record": "record --out {out} --seeds 10000:10001 --seconds 0.5 --workers 1",
    "show, page": "show {drive} --out {out}.png",
    "show, video": "show {drive} --video {out}.mp4",
    "export, drive": "export --data {drive} --out {out}",
    "replace a drive": "import video {video} {there} --height 78 --width 200 --positive left --overwrite",
}


@pytest.fixture(scope="module")
def fonts():
    """Matplotlib's list of fonts, which it makes on its first use and tells of where it can't."""
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=True)


@pytest.fixture
def places(tmp_path, fonts):
    rng = np.random.default_rng(0)
    drive = _make_drive(12, size=(78, 200))
    noisy = rng.integers(0, 256, drive.frames.shape, np.uint8)  # which no codec makes small
    object.__setattr__(drive, "frames", noisy)
    drive_io.save(drive, tmp_path / "drive")
    drive_io.save(drive, tmp_path / "there")
    return {
        "video": make_video(tmp_path / "video", 20),
        "pictures": make_pictures(tmp_path / "pictures", 20),
        "drive": tmp_path / "drive",
        "there": tmp_path / "there",
        "out": tmp_path / "new",
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, places, name):
    before = contents(tmp_path)
    words = [word.format(**places) for word in WRITERS[name].split()]
    done = subprocess.run([sys.executable, "-c", LIMITED, "1500", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "cannot be written" in done.stderr
    assert contents(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"video", "pictures", "drive", "there"}
