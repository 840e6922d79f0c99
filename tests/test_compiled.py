"""Small compiled functions against numpy, and that they compile where nothing can be kept on disk."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numba
import numpy as np
import pytest

from sim import compiled as c
from sim.appearance.atmosphere import draw_atmosphere
from sim.appearance.ground_atlas import N_LEVELS_D, N_LEVELS_S, PERIOD_M, GroundAtlas, fill_atlas
from sim.appearance.scene import draw_scene
from sim.appearance.surface import HALF_WIDTH_M, N_D, N_S, TEXEL_D_M, TEXEL_S_M
from sim.families import FAMILIES
from sim.seasons import SEASONS
from sim.weathers import WEATHERS
from tests.painted_ground import painted


@pytest.mark.parametrize("x", [-3.0, 0.5, 1.0, 1.7, 4.0, 9.0])
def test_compiled_interpolate_is_that_of_numpy(x):
    xs, ys = np.array([0.5, 1.0, 2.5, 4.0]), np.array([3.0, -1.0, 2.0, 7.0])
    assert c.interpolate(x, xs, ys) == pytest.approx(np.interp(x, xs, ys), abs=1e-12)


def test_compiled_lanes_hold_four_bytes_and_give_them_back():
    for colour in (0, 0x01020304, 0xFFFFFFFF, 0x80FF007F):
        wide = c.spread(np.uint32(colour))
        assert [c.channel(wide, k) for k in range(4)] == list(np.uint32(colour).tobytes())
    assert c.spread_rgb(1, 2, 3) == c.spread(np.uint32(0x030201))


def test_compiled_mix_is_the_weighted_mean_of_every_byte():
    rng = np.random.default_rng(0)
    for first, second in rng.integers(0, 2**32, (200, 2), dtype=np.uint32):
        for weight in (0, 1, 100, 255, 256):
            mixed = c.mix(c.spread(first), c.spread(second), np.uint64(weight))
            a, b = (np.frombuffer(x.tobytes(), np.uint8).astype(int) for x in (first, second))
            expected = (a * (256 - weight) + b * weight + 128) >> 8
            assert [c.channel(mixed, k) for k in range(4)] == expected.tolist()


def test_compiled_bytes_are_rounded_and_held():
    assert [c.to_byte(x) for x in (-7.0, 0.4, 0.6, 254.4, 254.6, 300.0)] == [0, 0, 1, 254, 255, 255]


@pytest.fixture(scope="module")
def scene():
    return draw_scene(
        np.random.default_rng(4),
        FAMILIES["country"],
        draw_atmosphere(np.random.default_rng(1), SEASONS["summer"], WEATHERS["fog"]),
    )


def test_compiled_atlas_levels_are_means_over_areas(scene):
    atlas = np.empty((sum(N_D >> k for k in range(N_LEVELS_D)), sum(N_S >> k for k in range(N_LEVELS_S))), np.uint32)
    colours = painted(scene.ground).colours[0]
    scene.ground.paint(0, atlas[:N_D, :N_S], np.empty((N_D, N_S), np.uint8))
    fill_atlas(atlas)
    channels = atlas.view(np.uint8).reshape(*atlas.shape, 4)[..., :3]
    np.testing.assert_array_equal(channels[:N_D, :N_S], colours)
    top, left = N_D + N_D // 2, N_S  # a quarter of the rows, half of the columns
    level = channels[top : top + N_D // 4, left : left + N_S // 2]
    expected = cv2.resize(colours.astype(np.float32), (N_S // 2, N_D // 4), interpolation=cv2.INTER_AREA)
    assert np.abs(level - expected).max() <= 2.0  # each halving may round up by half
    assert 0.0 <= (level - expected).mean() < 1.0


def test_compiled_ground_is_what_opencv_samples_from_the_texture(scene):
    rng, n_rows, width = np.random.default_rng(2), 12, 30
    atlas = GroundAtlas(scene)
    s_m = rng.uniform(-2 * PERIOD_M, 3 * PERIOD_M, (n_rows, width)).astype(np.float32)
    d_m = rng.uniform(-1.1 * HALF_WIDTH_M, 1.1 * HALF_WIDTH_M, (n_rows, width)).astype(np.float32)
    near_m, finest_m = np.full(n_rows, 1e-6), np.tile([[TEXEL_S_M], [TEXEL_D_M]], n_rows)
    picture, classes = np.zeros((n_rows, width, 3), np.uint8), np.zeros((n_rows, width), np.uint8)
    lane = np.zeros((n_rows, width), bool)
    atlas.draw(picture, classes, lane, s_m, d_m, near_m, finest_m)
    period = np.floor(s_m / PERIOD_M).astype(int)
    ground = painted(scene.ground)
    tiles = ground.order[period % len(ground.order)]
    map_s = (s_m.astype(float) % PERIOD_M) / TEXEL_S_M - 0.5
    map_d = np.clip((HALF_WIDTH_M - d_m) / TEXEL_D_M - 0.5, 0, N_D - 1)
    for tile in np.unique(tiles):
        wrapped = np.concatenate(
            [ground.colours[tile][:, -1:], ground.colours[tile], ground.colours[tile][:, :1]], axis=1
        )
        wanted = cv2.remap(wrapped, (map_s + 1).astype(np.float32), map_d.astype(np.float32), cv2.INTER_LINEAR)
        difference = np.abs(picture.astype(int) - wanted)[tiles == tile]
        # OpenCV weighs in 1/32 of a texel, we in 1/256.
        assert difference.mean() < 1.0
        assert difference.max() <= 12
    assert (lane <= (np.abs(d_m) < 0.5 * scene.section.lane_width_m)).all()
    assert lane.any()


def test_compiled_functions_work_where_nothing_can_be_kept(monkeypatch):
    njit = numba.njit

    def without_cache(*functions, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*functions, **options)

    monkeypatch.setattr(numba, "njit", without_cache)
    assert c.compiled(lambda x: 2 * x)(21) == 42


def test_compiled_functions_work_where_the_disk_is_full(tmp_path):
    (tmp_path / "loop.py").write_text(
        "from sim.compiled import compiled\n@compiled\ndef scaled(x):\n    return 3 * x\n"
    )
    code = (
        "import resource, signal\n"
        "from loop import scaled\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "print(scaled(2))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(c.__file__).parents[1])])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["6"]), done.stderr
    assert not list(tmp_path.rglob("*.nb?"))


def test_compiled_kept_code_is_of_the_sources_as_they_are(tmp_path):
    """A constant from another file is part of the machine code; the file that it is from may change alone."""
    package = tmp_path / "kept"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "loop.py").write_text(
        "from kept.size import FACTOR\n"
        "from sim.compiled import compiled\n"
        "@compiled\n"
        "def scaled(x):\n"
        "    return x * FACTOR\n"
    )
    code = "from kept.loop import scaled; print(scaled(2), sum(scaled.stats.cache_hits.values()))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(c.__file__).parents[1])])}

    def run(factor):
        (package / "size.py").write_text(f"FACTOR = {factor}\n")
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert run(3) == ["6", "0"]
    assert run(3) == ["6", "1"]
    assert run(5) == ["10", "0"]
    assert run(5) == ["10", "1"]
