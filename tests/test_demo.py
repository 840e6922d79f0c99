import json

import av
import gymnasium
import pytest

import sim  # noqa: F401  (registers the environments)
from driving.demo import run_demo
from driving.models import checkpoint
from driving.noise import Noise
from sim.errors import BadInputError


def make_world(render_mode=None):
    # In towns one is slow: within a second even an untrained policy stays on the road.
    return gymnasium.make(
        "lane/Procedural-v0", render_mode=render_mode, disable_env_checker=True, family="urban", episode_seconds=2.0
    ).unwrapped


def demo(policies, out, noise, seeds=(1000, 1001), seconds=1.0):
    return run_demo(
        policies, make_world, lambda: make_world("rgb_array"), seeds, seconds, noise, out, "liquid-lane demo"
    )


@pytest.fixture(scope="module")
def policies(saved_policies):
    return {core: checkpoint.load(folder) for core, folder in saved_policies.items()}


@pytest.mark.slow
def test_demo_writes_video_report_and_figures(policies, tmp_path):
    figures = demo(policies, tmp_path / "new" / "out", Noise("gaussian", 0.1))
    out = tmp_path / "new" / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "comparison.jpg",
        "comparison.mp4",
        "index.html",
        "metrics.json",
        "report.html",
    ]
    assert json.loads((out / "metrics.json").read_text()) == figures
    assert set(figures) == {
        "command", "seeds", "seconds", "lane_half_width_m", "drive", "attention", "traces"
    }  # fmt: skip
    assert figures["seeds"] == [1000, 1001]
    assert [(row["policy"], row["noise"]) for row in figures["drive"]] == [
        ("ltc", "none"), ("lstm", "none"), ("ltc", "gaussian:0.1"), ("lstm", "gaussian:0.1")
    ]  # fmt: skip
    for row in figures["drive"]:
        assert set(row) >= {"title", "crashes", "km", "crashes_per_km", "mean_abs_lateral_offset_m",
                            "frames_per_s", "episodes"}  # fmt: skip
        assert [episode["seed"] for episode in row["episodes"]] == [1000, 1001]
        assert set(row["episodes"][0]) >= {"seed", "crashed", "distance_m", "mean_abs_offset_m"}
    attention = figures["attention"]
    assert attention["method"] == "visual_backprop"
    assert 0 < attention["road_area_share"] < 1
    for scores in attention["policies"].values():
        assert set(scores) >= {"on_road_share", "untrained_on_road_share", "ssim_clean_noisy", "n_frames"}
        assert None not in scores.values()
    assert len(figures["traces"]) == 8
    for trace in figures["traces"]:
        assert len(trace["time_s"]) == len(trace["lateral_offset_m"]) > 0
    assert figures["lane_half_width_m"] > 1
    with av.open(str(out / "comparison.mp4")) as video:
        n_frames = sum(1 for _ in video.decode(video=0))
    assert n_frames == 2 * (20 + 60)  # two chapters of a second at 20 frames a second, after each the figures
    report = (out / "report.html").read_text()
    assert "comparison.mp4" in report
    assert "gaussian" in report.lower()


def test_demo_without_noise_has_one_chapter(policies, tmp_path):
    figures = demo({"ltc": policies["ltc"]}, tmp_path, None, seeds=[1000], seconds=0.2)
    assert [row["noise"] for row in figures["drive"]] == ["none"]
    assert figures["attention"]["policies"]["ltc"]["ssim_clean_noisy"] is None
    assert figures["attention"]["policies"]["ltc"]["n_frames"] == 4


def test_demo_shows_one_or_two_policies(policies, tmp_path):
    for wrong in ({}, dict.fromkeys("abc", policies["ltc"])):
        with pytest.raises(BadInputError, match=f"got {len(wrong)}"):
            demo(wrong, tmp_path, None)
    assert list(tmp_path.iterdir()) == []
