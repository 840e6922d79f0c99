import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import av
import cv2
import gymnasium
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from driving.cli import COMMANDS, _spread, load_command, main
from driving.commands.arguments import parse_seeds
from driving.harness.reproduce import Plan
from driving.online import OnlineWindows
from driving.settings import parse_env_options, parse_vary
from sim import drive as drive_io
from sim.errors import BadInputError
from sim.importers import IMPORTERS
from tests.stand_in import SeasonalEnv

EPISODE_KEYS = {"seed", "setting", "crashed", "truncation", "distance_m", "mean_abs_offset_m"}
TOTALS = {"crashes", "km", "crashes_per_km", "mean_abs_lateral_offset_m", "kept_share"}
TOTALS |= {"n_seeds", "crashed_seeds", "crashed_seeds_95"}
DRIVE_KEYS = {"episodes", "settings", "frames_per_s", *TOTALS}
ATTEND_KEYS = {"on_road_share", "untrained_on_road_share", "ssim_clean_noisy", "n_frames"}


@pytest.fixture
def fails(capsys):
    """Run the command line, which must fail with one clear line; returns that line."""

    def run(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert status == 2, (status, out, err)
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert err.startswith("error: ")
        assert "Traceback" not in out + err
        return err

    return run


@pytest.fixture
def succeeds(capsys):
    """Run the command line, which must succeed; returns what it printed."""

    def run(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return run


@pytest.fixture
def drive_folder(make_drive, tmp_path):
    """A drive to be damaged."""
    drive_io.save(make_drive(6, known_masks=[1]), tmp_path / "drive")
    return tmp_path / "drive"


@pytest.fixture
def policy_folder(saved_policies, tmp_path):
    """A checkpoint to be damaged."""
    folder = tmp_path / "policy"
    folder.mkdir()
    for path in saved_policies["ltc"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


# Help ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", ["raise ImportError('libGL.so.1: cannot open shared object file: No such file')", "import cv2.no_such_part"]
)
def test_cli_broken_opencv_is_one_line_that_says_what_to_do(tmp_path, how):
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text(f"{how}\n")
    words = [sys.executable, "-m", "driving", "drive", "--policy", "ltc19"]
    places = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    found = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": places})
    assert found.returncode == 2
    assert found.stderr.startswith("error: OpenCV cannot be imported (")
    assert "--force-reinstall --no-deps opencv-python-headless" in found.stderr
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_cli_help_has_an_example(succeeds, command):
    text = " ".join(succeeds(command, "--help").split())
    assert f"Example: liquid-lane {command}" in text


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_cli_help_lists_the_commands(succeeds, arguments):
    text = succeeds(*arguments)
    for command in COMMANDS:
        assert command in text


def test_cli_line_of_a_command_begins_its_own_help():
    for name, (_, _, line) in COMMANDS.items():
        text = " ".join((load_command(name).help or "").split())
        assert text.startswith(line.removesuffix(".")), name


def test_cli_version(succeeds):
    assert re.fullmatch(r"liquid-lane \d+\.\d+\.\d+\n", succeeds("--version"))


def test_cli_help_comes_without_the_slow_libraries():
    code = (
        "import sys\nfrom driving.cli import main\nmain(['--help'])\n"
        "print({'torch', 'cv2', 'captum', 'numba', 'matplotlib'} & sys.modules.keys())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "set()")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_cli_completes_commands_and_options(shell):
    def completed(*words):
        line = " ".join(("liquid-lane", *words))
        environment = os.environ | {
            "_LIQUID_LANE_COMPLETE": f"complete_{shell}", "COMP_WORDS": line, "COMP_CWORD": str(len(words)),
            "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }  # fmt: skip
        code = "from driving.cli import app; app(prog_name='liquid-lane')"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
        )
        return done.stdout

    assert "insight" in completed("in")
    assert "--lr-core" in completed("train", "--lr")


def run_python(*arguments, cwd=None):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "driving", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env=environment, timeout=60, check=False,
    )  # fmt: skip


def test_cli_python_m_shows_help(tmp_path):
    done = run_python("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "attend" in done.stdout
    assert done.stderr == ""


def test_cli_error_of_a_process_is_one_line_and_status_2(tmp_path):
    folder = tmp_path / ("a rather long name of a folder " * 6).strip() / "[brackets]"
    done = run_python("test", "--policy", "nonesuch", "--data", folder, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: checkpoint: no policy 'nonesuch'")


# The whole path --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_cli_record_train_test_drive_attend(succeeds, tmp_path):
    root = tmp_path / "a [long] name that no terminal of eighty columns holds in one line, wherever it is"
    data, figures = root / "world", root / "figures"
    text = succeeds("record", "--out", data, "--seeds", "0:2", "--seconds", "1")
    assert text == f"{data}: 40 frames in 2 episodes\n"
    for core in ("ltc", "lstm"):
        out = root / core
        text = succeeds(
            "train", "--data", data, "--core", core, "--out", out, "--steps", 2, "--batch", 2,
            "--window", 5, "--validate", f"{data}@0:12", "--seed", 1,
        )  # fmt: skip
        assert text.startswith(f"{out}: ")
        saved = sorted(path.name for path in out.iterdir())
        assert saved == ["README.md", "config.json", "curve.png", "log.csv", "metrics.json", "weights.safetensors"]
        assert json.loads((out / "metrics.json").read_text())["validation"]["n_frames"] == 12

    succeeds("test", "--policy", root / "ltc", "--data", data, f"{data}@3:9", "--json", figures / "test.json")
    test = json.loads((figures / "test.json").read_text())
    # The embedded world's car has no known steering ratio, so there is no figure of its steering wheel.
    assert set(test) == {
        "rmse_curvature_per_m", "zero_rmse_curvature_per_m", "correlation", "n_frames"
    }  # fmt: skip
    assert test["n_frames"] == 46

    video = root / "drive.mp4"
    succeeds(
        "drive", "--policy", root / "ltc", "--env", "lane/Procedural-v0", "--seeds", "7:9", "--seconds", 0.5,
        "--noise", "gaussian:0.1", "--json", figures / "drive.json", "--video", video,
    )  # fmt: skip
    drive = json.loads((figures / "drive.json").read_text())
    assert set(drive) == DRIVE_KEYS
    assert [set(episode) for episode in drive["episodes"]] == [EPISODE_KEYS] * 2
    assert [episode["seed"] for episode in drive["episodes"]] == [7, 8]
    assert n_frames(video) == 10 + 60  # and three seconds of figures

    for source, n_expected, noise in ((data, 40, "none"), ("lane/Procedural-v0", 5, "blur:2")):
        succeeds(
            "attend", "--policies", root / "ltc", root / "lstm", "--source", source, "--seconds",
            5 if source == data else 0.25, "--noise", noise, "--json", figures / "attend.json",
        )  # fmt: skip
        attend = json.loads((figures / "attend.json").read_text())
        assert set(attend) == {"road_area_share", "policies"}
        for row in (attend["policies"][str(root / "ltc")], attend["policies"][str(root / "lstm")]):
            assert set(row) >= ATTEND_KEYS
            if source != data:
                assert row["n_frames"] == n_expected
            assert (row["ssim_clean_noisy"] is None) == (noise == "none")
        assert 0 < attend["road_area_share"] < 1


def n_frames(path):
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def test_cli_train_starts_from_a_policy_and_resumes(succeeds, fails, saved_drive, saved_policies, tmp_path):
    small = ("--data", saved_drive, "--steps", 1, "--batch", 2, "--window", 5)
    succeeds("train", *small, "--init", saved_policies["lstm"], "--out", tmp_path / "a", "--threads", 1)
    assert json.loads((tmp_path / "a" / "config.json").read_text())["core"] == "lstm"
    assert "leave out --core" in fails(
        "train", *small, "--init", saved_policies["lstm"], "--core", "ltc", "--out", tmp_path / "b"
    )
    assert "only core ltc" in fails("train", *small, "--core", "lstm", "--initial-c", 3, "--out", tmp_path / "b")
    assert "start without --resume" in fails("train", *small, "--out", tmp_path / "b", "--resume")


LIVE = (
    *("--env", "lane/Procedural-v0", "--pictures", 4, "--pictures-a-step", 2, "--steps", 2, "--batch", 2),
    *("--window", 4, "--warmup", 1, "--threads", 1),
)


def test_cli_train_in_a_running_world(capsys, succeeds, tmp_path):
    options = ("--env-option", "roadside=false", "--episode-seconds", 1.5, "--expert-share", 0.5)
    options += ("--retries", 2)
    text = succeeds("train", *LIVE, *options, "--wiring", "ncp", "--out", tmp_path / "a", "--bfloat16")
    assert text.startswith(str(tmp_path / "a"))
    assert json.loads((tmp_path / "a" / "config.json").read_text())["core_wiring_kind"] == "ncp"
    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert (metrics["env"], metrics["env_options"]) == ("lane/Procedural-v0", {"roadside": False})
    assert metrics["online"]["episode_seconds"] == 1.5
    assert metrics["online"]["expert_share"] == 0.5
    assert metrics["online"]["n_retries"] == 2
    assert metrics["online"]["first_part"] == 0.12
    assert metrics["pretraining"]["n_pictures"] == 4
    assert metrics["train_config"]["lr_encoder"] == 5e-4  # that of an encoder that has seen pictures
    assert metrics["n_frames"] == 2 * 2 * 4
    assert main([str(a) for a in ("train", *LIVE, "--init", tmp_path / "a", "--out", tmp_path / "b",
                                  "--log-every", 1, "--verbose")]) == 0  # fmt: skip
    assert capsys.readouterr().err.count(" policy_crashes_per_km ") == 2
    assert json.loads((tmp_path / "b" / "metrics.json").read_text())["online"]["first_part"] == 0.0


def test_cli_train_closes_its_worlds_on_errors(fails, tmp_path, monkeypatch):
    closed, close = [], OnlineWindows.close
    monkeypatch.setattr(OnlineWindows, "close", lambda self: closed.append(len(self._envs)) or close(self))
    assert "start without --resume" in fails("train", *LIVE, "--out", tmp_path / "a", "--resume")
    assert closed == [2]
    assert not (tmp_path / "a" / "pretraining.safetensors").exists()


def test_cli_train_takes_drives_or_a_world(fails, saved_drive, tmp_path):
    out = ("--out", tmp_path / "a")
    assert "none of them" in fails("train", *out)
    assert "got both" in fails("train", *out, *LIVE, "--data", saved_drive)
    live = (("--env-option", "hills=false"), ("--episode-seconds", 8), ("--expert-share", 0.25), ("--retries", 0))
    for option in live:
        assert "for --env only" in fails("train", *out, "--data", saved_drive, *option)
    for name in ("--shift-m", "--yaw-rad"):
        assert f"leave out {name}" in fails("train", *out, *LIVE, name, 0.1)
    assert "expected one of lane/" in fails("train", *out, "--env", "lane/Nowhere-v0")
    assert "expert_share" in fails("train", *out, *LIVE, "--expert-share", 2)
    assert "episode_seconds" in fails("train", *out, *LIVE, "--episode-seconds", 0)
    assert "expected season" in fails("train", *out, *LIVE, "--env-option", "season=monsoon")
    assert not (tmp_path / "a" / "weights.safetensors").exists()


def test_cli_train_encoder_and_wiring_of_a_new_policy(succeeds, fails, saved_policies, make_drive, tmp_path):
    drive_io.save(make_drive(9, size=(78, 200)), tmp_path / "drive")
    small = ("train", "--data", tmp_path / "drive", "--steps", 1, "--batch", 2, "--window", 5)
    for words, key, value in (
        (("--core", "feedforward", "--encoder", "cnn"), "core_layers", "1000-100"),
        (("--core", "lstm", "--encoder", "pilotnet"), "encoder", "pilotnet"),
        (("--wiring", "full", "--initial-c", 3), "core_wiring_kind", "full"),
    ):
        succeeds(*small, *words, "--out", tmp_path / "a")
        assert json.loads((tmp_path / "a" / "config.json").read_text())[key] == value
    small += ("--out", tmp_path / "b")
    assert "shared, cnn, pilotnet, got 'resnet'" in fails(*small, "--encoder", "resnet")
    assert "core ltc takes the 32 features of shared only" in fails(*small, "--encoder", "cnn")
    assert "paper, ncp, full, random, got 'ring'" in fails(*small, "--wiring", "ring")
    assert "only cores ltc, wired_cfc" in fails(*small, "--core", "lstm", "--wiring", "ncp")
    for option in (("--encoder", "shared"), ("--wiring", "paper")):
        assert "leave out --core" in fails(*small, "--init", saved_policies["ltc"], *option)


def test_cli_import_makes_a_drive(succeeds, udacity_sim, tmp_path):
    text = succeeds("import", "udacity-sim", udacity_sim, tmp_path / "out", "--height", 39, "--width", 100)
    line, notes = text.splitlines()
    assert line == f"{tmp_path / 'out'}: 4 frames, 1 piece(s), 0 min 0 s; none left out"
    assert notes.startswith("Estimated: focal length, camera height, horizon, wheelbase 2.67 m")
    assert drive_io.load(tmp_path / "out").frames.shape == (4, 39, 100, 3)
    succeeds("import", "udacity-sim", udacity_sim, tmp_path / "out", "--overwrite")


def test_cli_show_draws_a_drive_on_one_page(succeeds, fails, saved_drive, tmp_path):
    assert succeeds("show", saved_drive, "--out", tmp_path / "d.png") == f"{tmp_path / 'd.png'}\n"
    page = cv2.imread(str(tmp_path / "d.png"))
    assert page.shape[1] == 1320
    assert page.std() > 20
    (tmp_path / "d.svg").unlink(missing_ok=True)
    succeeds("show", saved_drive, "--out", tmp_path / "d.svg")
    words = (tmp_path / "d.svg").read_text()
    assert "30 frames of" in words or "<svg" in words
    assert "expected a name ending in .png" in fails("show", saved_drive, "--out", tmp_path / "d.txt")
    assert "no such folder" in fails("show", tmp_path / "nowhere")


def test_cli_show_films_a_drive_a_frame_a_row(succeeds, fails, saved_drive, tmp_path):
    assert succeeds("show", saved_drive, "--video", tmp_path / "d.mp4") == f"{tmp_path / 'd.mp4'}\n"
    assert n_frames(tmp_path / "d.mp4") == 30
    assert "one of --out, --video and --rrd" in fails(
        "show", saved_drive, "--video", tmp_path / "e.mp4", "--out", tmp_path / "e.png"
    )
    assert "expected a name ending in .mp4" in fails("show", saved_drive, "--video", tmp_path / "e.avi")
    assert "--policies: goes with --rrd" in fails("show", saved_drive, "--policies", "ltc19")


def test_cli_show_writes_a_file_for_rerun_or_says_what_is_missing(
    succeeds, fails, saved_drive, saved_policies, tmp_path
):
    out = tmp_path / "d.rrd"
    if importlib.util.find_spec("rerun") is None:
        assert "pip install 'liquid-lane[rerun]'" in fails("show", saved_drive, "--rrd", out)
        assert not out.exists()
        pytest.skip("rerun-sdk is not installed: pip install 'liquid-lane[rerun]'")
    succeeds("show", saved_drive, "--rrd", out, "--policies", saved_policies["ltc"], saved_policies["lstm"])
    found = subprocess.run(
        [Path(sys.executable).with_name("rerun"), "rrd", "print", "-v", out], capture_output=True, text=True, check=True
    ).stdout
    for entity in ("/camera", "/label/curvature", "/attention", "/neurons"):
        assert entity in found


def test_cli_attend_writes_a_video_of_a_drive(succeeds, saved_drive, saved_policies, tmp_path):
    succeeds(
        "attend", "--policies", saved_policies["ltc"], saved_policies["lstm"],
        "--source", f"{saved_drive}@0:4", "--method", "input_gradient", "--video", tmp_path / "v.mp4",
    )  # fmt: skip
    assert n_frames(tmp_path / "v.mp4") == 4 + 60


def test_cli_tables_hold_names_with_brackets_and_whole_headings(succeeds, saved_drive, saved_policies, tmp_path):
    named = tmp_path / "[bold]p"
    named.symlink_to(saved_policies["lstm"])
    out = succeeds("attend", "--policies", named, "--source", f"{saved_drive}@0:3")
    assert "…" not in out
    assert "untrained" in out
    out = succeeds("test", "--policy", named, "--data", saved_drive)
    assert "[bold]p" in "".join(out.split())  # however the title is broken


# Inside, and out of here -------------------------------------------------------------------------------------


def test_cli_insight_says_what_the_neurons_do(succeeds, saved_policies, tmp_path):
    short = ("--seeds", "7:9", "--seconds", 1.5, "--json", tmp_path / "f.json")
    out = succeeds("insight", "--policy", saved_policies["ltc"], *short)
    figures = json.loads((tmp_path / "f.json").read_text())
    assert set(figures) == {"n_frames", "crashes", "principal_shares", "neurons", "synapses"}
    assert figures["n_frames"] == 20
    assert 0 < figures["principal_shares"]["state"][0] <= 1
    assert "command" in out
    succeeds("insight", "--policy", saved_policies["lstm"], *short)
    figures = json.loads((tmp_path / "f.json").read_text())
    assert set(figures["principal_shares"]) == {"h", "h_and_c"}


def test_cli_insight_needs_more_than_its_warm_up(fails, saved_policies):
    assert "more than 1," in fails("insight", "--policy", saved_policies["ltc"], "--seconds", 1)


@pytest.mark.parametrize("rows", ["", "@2:9"])
def test_cli_circuit_is_drawn(succeeds, saved_policies, saved_drive, tmp_path, rows):
    data = ("--data", f"{saved_drive}{rows}") if rows else ()
    picture = tmp_path / "new" / "circuit.png"
    assert succeeds("circuit", "--policy", saved_policies["ltc"], "--out", picture, *data) == (f"Written: {picture}\n")
    assert cv2.imread(str(picture)).shape[2] == 3


def test_cli_circuit_refuses_what_it_cannot_draw(fails, saved_policies, tmp_path):
    ltc, lstm = saved_policies["ltc"], saved_policies["lstm"]
    assert "ending in .svg, .png, .pdf" in fails("circuit", "--policy", ltc, "--out", tmp_path / "c.gif")
    assert "with a wiring" in fails("circuit", "--policy", lstm, "--out", tmp_path / "c.svg")
    assert not any(tmp_path.iterdir())


def test_cli_export_writes_a_program(succeeds, fails, saved_policies, tmp_path, monkeypatch):
    policy = saved_policies["ltc"]
    out = succeeds("export", "--policy", policy, "--out", tmp_path / "x", "--format", "torch")
    assert out.startswith(f"Written: {tmp_path / 'x' / 'policy.pt2'}, {tmp_path / 'x' / 'policy.json'}; largest")
    assert json.loads((tmp_path / "x" / "policy.json").read_text())["policy"] == "ltc"
    assert "one of onnx, torch" in fails("export", "--policy", policy, "--out", tmp_path, "--format", "tf")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "pip install 'liquid-lane[deploy]'" in fails("export", "--policy", policy, "--out", tmp_path)


# Parsing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "spread"),
    [
        ("a --policies P Q --env E", "a --policies P --policies Q --env E"),
        ("--data A B C", "--data A --data B --data C"),
        ("--data A --data B", "--data A --data B"),
        ("--policy P x", "--policy P x"),
        ("--shift-m -1 --data A", "--shift-m -1 --data A"),
        ("--data --json F", "--data --json F"),
        ("--data A A", "--data A --data A"),
        ("--vary A B --seeds 1:2", "--vary A --vary B --seeds 1:2"),
    ],
)
def test_cli_options_of_many_values_are_spread(arguments, spread):
    assert _spread(arguments.split()) == spread.split()


def test_cli_seeds_are_a_range():
    assert list(parse_seeds("7:10")) == [7, 8, 9]


@pytest.mark.parametrize("text", ["", "5", "5:5", "6:5", "-1:3", "a:b", "1:2:3", "1.0:2", "²:³"])
def test_cli_bad_seeds_are_errors(fails, text):
    with pytest.raises(BadInputError, match="A:B"):
        parse_seeds(text)
    assert "seeds: expected A:B" in fails("record", "--out", "never-written", "--seeds", text)


def test_cli_env_options_are_numbers_and_booleans_where_they_can_be():
    assert parse_env_options(["a=1", "b=x=y", "c=true", "d=false", "drive=recordings/b@0:921"]) == {
        "a": 1.0, "b": "x=y", "c": True, "d": False, "drive": "recordings/b@0:921"
    }  # fmt: skip
    for text in ("a", "=1"):
        with pytest.raises(BadInputError, match="NAME=VALUE"):
            parse_env_options([text])


def test_cli_variations_are_all_combinations():
    assert parse_vary(None) == [{}]
    assert parse_vary(["a=1,x", "b=true,2,y"]) == [{"a": a, "b": b} for a in (1.0, "x") for b in (True, 2.0, "y")]
    for texts in (["a"], ["=1"], ["a="], ["a=1,"], ["a=1,1"], ["a=1", "a=2"]):
        with pytest.raises(BadInputError, match="NAME=V1,V2"):
            parse_vary(texts)


# Settings --------------------------------------------------------------------------------------------------


@pytest.fixture
def seasonal_env():
    gymnasium.register("lane/Seasonal-v0", entry_point=SeasonalEnv)
    SeasonalEnv.made.clear()
    yield SeasonalEnv
    del gymnasium.registry["lane/Seasonal-v0"]


def test_cli_drive_groups_episodes_by_what_the_world_drew(succeeds, seasonal_env, saved_policies, tmp_path):
    out = succeeds(
        "drive", "--policy", saved_policies["ltc"], "--env", "lane/Seasonal-v0", "--seeds", "0:4",
        "--seconds", 0.4, "--json", tmp_path / "f.json",
    )  # fmt: skip
    figures = json.loads((tmp_path / "f.json").read_text())
    assert set(figures) == DRIVE_KEYS
    assert [episode["crashed"] for episode in figures["episodes"]] == [False, True, False, True]
    assert figures["episodes"][3]["setting"] == {"season": "winter", "weather": "clear", "family": "country"}
    rows = [(row["setting"], row["n_episodes"], row["crashes"]) for row in figures["settings"]]
    assert rows == [  # family is the same for all: no group
        ({"season": "summer"}, 2, 0), ({"season": "winter"}, 2, 2),
        ({"weather": "clear"}, 2, 1), ({"weather": "fog"}, 1, 1), ({"weather": "rain"}, 1, 0),
    ]  # fmt: skip
    assert all(set(row) == {"setting", "n_episodes", *TOTALS} for row in figures["settings"])
    # Eight steps of 0.5 m, or four and then the crash.
    assert [row["kept_share"] for row in figures["settings"]] == [1.0, 0.5, 0.75, 0.5, 1.0]
    assert (figures["kept_share"], figures["km"], figures["crashes"]) == (0.75, 0.012, 2)
    assert all(env.episode_seconds == 0.4 for env in seasonal_env.made)
    assert all(env.closed for env in seasonal_env.made)
    lines = [line.split() for line in out.splitlines()]
    assert ["season=winter", "2", "2", "0.004", "500"] in [line[:5] for line in lines]
    assert [line[0] for line in lines if len(line) == 7][-1] == "all"
    assert out.splitlines()[-1] == "2 of 4 seeds with a crash; 95 % interval of their share: 15 to 85 %"


def test_cli_drive_varies_options_over_the_same_seeds(succeeds, seasonal_env, saved_policies, tmp_path):
    succeeds(
        "drive", "--policy", saved_policies["lstm"], "--env", "lane/Seasonal-v0", "--seeds", "0:3",
        "--seconds", 0.4, "--json", tmp_path / "f.json", "--vary", "season=summer,any", "hue=1,2",
    )  # fmt: skip
    figures = json.loads((tmp_path / "f.json").read_text())
    rows = [(row["setting"], row["n_episodes"], row["crashes"]) for row in figures["settings"]]
    assert rows == [
        ({"season": season, "hue": hue}, 3, crashes)
        for season, crashes in (("summer", 0), ("any", 1))
        for hue in (1.0, 2.0)
    ]
    assert [episode["seed"] for episode in figures["episodes"]] == [0, 1, 2] * 4
    # What the world drew says more than the option that let it draw.
    assert figures["episodes"][7]["setting"] == {
        "season": "winter", "hue": 1.0, "weather": "fog", "family": "country"
    }  # fmt: skip
    assert figures["crashes"] == sum(row["crashes"] for row in figures["settings"])
    assert figures["km"] == pytest.approx(sum(row["km"] for row in figures["settings"]))


def test_cli_drive_checks_every_variation_before_it_drives(fails, seasonal_env, saved_policies):
    drive = ("drive", "--policy", saved_policies["ltc"], "--env", "lane/Seasonal-v0", "--seconds", 0.4)
    assert "'spring'" in fails(*drive, "--vary", "season=summer,spring")
    assert [env.resets for env in seasonal_env.made] == [[]]
    assert "no_such" in fails(*drive, "--vary", "no_such=1,2")
    line = fails(*drive, "--vary", "season=summer,winter", "--env-option", "season=any")
    assert "season" in line
    assert "env-option" in line
    assert "NAME=V1,V2" in fails(*drive, "--vary", "season")


def test_cli_drive_of_one_setting_shows_one_row(succeeds, seasonal_env, saved_policies):
    out = succeeds(
        "drive", "--policy", saved_policies["ltc"], "--env", "lane/Seasonal-v0", "--seeds", "0:1",
        "--seconds", 0.2,
    )  # fmt: skip
    assert "season=" not in out
    assert "frames/s" in out


# Bad input: commands and options ---------------------------------------------------------------------------


def test_cli_unknown_commands_and_options_are_errors(fails, saved_drive):
    assert "fly" in fails("fly")
    assert "--fast" in fails("drive", "--policy", "x", "--fast")
    assert "--policy" in fails("drive")
    assert "--data" in fails("test", "--policy", "x")
    assert "--data" in fails("test", "--policy", "x", "--data")
    assert "--seconds" in fails("drive", "--policy", "x", "--seconds", "soon")
    train = ("train", "--data", saved_drive, "--out", "never-written")
    assert "--threads" in fails(*train, "--threads", -1)
    assert "seed must be a whole number of at least 0" in fails(*train, "--seed", -1)


def test_cli_unknown_policy_is_an_error(fails, saved_drive, tmp_path):
    assert "no policy 'ltc20'" in fails("drive", "--policy", "ltc20")
    assert "no policy" in fails("test", "--policy", tmp_path / "none", "--data", saved_drive)
    assert "no policy 'ltc20'" in fails("attend", "--policies", "ltc20", "--source", saved_drive)
    assert "no policy 'ltc20'" in fails("demo", "--policy", "ltc20", "--out", tmp_path / "demo")


def test_cli_drives_and_watches_in_a_world_of_another_module(succeeds, fails, saved_policies, tmp_path, monkeypatch):
    (tmp_path / "tracks.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('mine/Track-v0', 'tests.stand_in:SeasonalEnv')\n"
        "gymnasium.register('mine/Function-v0', 'gymnasium:make')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    drive = ("drive", "--policy", saved_policies["ltc"], "--seeds", "0:4", "--seconds", 0.4, "--workers", 2)
    assert "4" in succeeds(*drive, "--env", "tracks:mine/Track-v0")
    succeeds("attend", "--policies", saved_policies["ltc"], "--source", "tracks:mine/Track-v0", "--seconds", 0.3)
    for wrong in ("tracks:mine/Function-v0", "tracks:mine/None-v0", "nowhere:mine/Track-v0", "mine/Tracks-v0", ":"):
        assert "MODULE:ID of a subclass of LaneEnv" in fails(*drive, "--env", wrong)
    for name in ("mine/Track-v0", "mine/Function-v0"):
        del gymnasium.registry[name]


def test_cli_unknown_environment_is_an_error(fails, saved_policies, tmp_path):
    policy = ("--policy", saved_policies["ltc"])
    assert "lane/Procedural-v0" in fails("drive", *policy, "--env", "lane/Moon-v0")
    # Registered, but not one of ours.
    assert "lane/Procedural-v0" in fails("drive", *policy, "--env", "CartPole-v1")
    assert "lane/Procedural-v0" in fails("record", "--out", tmp_path / "r", "--env", "lane/Moon-v0")
    line = fails("attend", "--policies", saved_policies["ltc"], "--source", "lane/Moon-v0")
    assert "lane/Procedural-v0" in line
    assert "drive" in line


@pytest.mark.parametrize(
    "option",
    ["colour=red", "episode_seconds=soon", "episode_seconds=-1", "min_radius_m=nan", "render_mode=human",
     "disable_env_checker=1", "nothing"],
)  # fmt: skip
def test_cli_bad_environment_option_is_an_error(fails, saved_policies, option):
    line = fails("drive", "--policy", saved_policies["ltc"], "--seconds", 1, "--env-option", option)
    assert option.split("=")[0] in line


def test_cli_stress_writes_rows_figures_and_a_table(succeeds, fails, saved_policies, tmp_path):
    given = (
        "stress", "--policies", saved_policies["ltc"], saved_policies["lstm"], "--noises", "none", "late:mild",
        "--seeds", "3:5", "--seconds", 0.3, "--out", tmp_path / "sweep",
        "--env-option", "roadside=false", "hills=false",
    )  # fmt: skip
    text = succeeds(*given, "--workers", 2, "--json", tmp_path / "figures.json")
    assert "late:0.05" in text
    assert f"{tmp_path / 'sweep' / 'episodes.csv'}: 8 rows" in text.replace("\n", "")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures == json.loads((tmp_path / "sweep" / "figures.json").read_text())
    assert figures["reference"] == str(saved_policies["lstm"])
    assert len(figures["table"]) == 4
    assert "8 rows" in succeeds(*given)  # driven already
    assert "expected one of" in fails(*given, "--against", "nobody")
    assert "got 'smog'" in fails(*given, "--noises", "smog")


def test_cli_reproduce_drives_looks_inside_and_writes(succeeds, fails, saved_policies, tmp_path, monkeypatch):
    tiny = Plan(range(1000, 1002), 0.5, range(1000, 1001), 1.5)
    monkeypatch.setattr("driving.commands.stressing.QUICK", tiny)
    given = ("reproduce", "--quick", "--out", tmp_path / "out", "--workers", 1)
    text = succeeds(*given, "--policies", saved_policies["ltc"], saved_policies["lstm"])
    assert "A first answer" in text
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert figures["quick"] is True
    assert len(figures["inside"]) == 2 * 4
    assert "What was published" in (tmp_path / "out" / "report.html").read_text()
    assert "liquid network and another kind" in fails(*given, "--policies", saved_policies["lstm"])


@pytest.mark.parametrize("noise", ["smog:1", "gaussian", "gaussian:much", "gaussian:-0.1", "gaussian:nan", "blur:1e9"])
def test_cli_bad_noise_is_an_error(fails, saved_policies, saved_drive, noise):
    policy = saved_policies["ltc"]
    assert "noise: expected" in fails("drive", "--policy", policy, "--noise", noise)
    assert "noise: expected" in fails("attend", "--policies", policy, "--source", saved_drive, "--noise", noise)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "0.01", "1e9"])
def test_cli_bad_seconds_are_errors(fails, saved_policies, saved_drive, tmp_path, seconds):
    policy = saved_policies["ltc"]
    assert "seconds: expected" in fails("drive", "--policy", policy, "--seconds", seconds)
    assert "seconds: expected" in fails("record", "--out", tmp_path / "r", "--seconds", seconds)
    assert "seconds: expected" in fails("attend", "--policies", policy, "--source", saved_drive, "--seconds", seconds)
    assert "seconds: expected" in fails("demo", "--policy", policy, "--seconds", seconds, "--out", tmp_path / "d")


def test_cli_unknown_core_method_and_format_are_errors(fails, saved_drive, saved_policies, tmp_path):
    assert "ltc, lstm" in fails("train", "--data", saved_drive, "--core", "mamba", "--out", tmp_path / "p")
    line = fails("attend", "--policies", saved_policies["ltc"], "--source", saved_drive, "--method", "lime")
    assert "visual_backprop" in line
    line = fails("import", "kitti", tmp_path, tmp_path / "out")
    assert all(name in line for name in IMPORTERS)


def test_cli_train_settings_that_cannot_be_are_errors(fails, saved_drive, tmp_path):
    small = ("train", "--data", saved_drive, "--out", tmp_path / "p", "--batch", 2, "--window", 5)
    assert "n_steps" in fails(*small, "--steps", 0)
    assert "n_warmup" in fails(*small, "--warmup", 5)
    assert "lr_core" in fails(*small, "--lr-core", "nan")
    assert "mirror" in fails(*small, "--mirror", 2)
    assert "initial_c" in fails(*small, "--initial-c", 0)
    assert "run of 500 frames" in fails(*small[:-1], 500)
    assert not (tmp_path / "p" / "weights.safetensors").exists()


def test_cli_more_than_four_policies_make_no_video(fails, saved_policies, saved_drive, tmp_path):
    copies = [tmp_path / name for name in "abcde"]
    for copy in copies:
        copy.symlink_to(saved_policies["ltc"])
    line = fails("attend", "--policies", *copies, "--source", saved_drive, "--video", tmp_path / "v.mp4")
    assert "got 5" in line
    assert "got 3" in fails("demo", *(w for c in copies[:3] for w in ("--policy", c)), "--out", tmp_path / "d")


def test_cli_attend_draws_a_still_and_studies_a_recorded_drive(succeeds, fails, saved_drive, saved_policies, tmp_path):
    names = "attend", "--policies", saved_policies["ltc"], saved_policies["lstm"]
    methods = "--method", "visual_backprop", "--method", "grad_cam"
    succeeds(*names, "--source", saved_drive, *methods, "--still", tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 10_000
    text = succeeds(*names, "--source", saved_drive, *methods, "--json", tmp_path / "s.json")
    assert "grad_cam" in text
    assert {row["method"] for row in json.loads((tmp_path / "s.json").read_text())["table"]} == set(methods[1::2])
    world = "--source", "lane/Procedural-v0"
    assert "--seeds A:B" in fails(*names, *world, *methods, "--method", "occlusion")
    one = "attend", "--policies", saved_policies["ltc"], *world, "--seconds", 0.2
    text = succeeds(*one, *methods, "--video", tmp_path / "m.mp4")
    assert text.count("grad_cam") == 2, text  # in the title and in a row
    assert (tmp_path / "m.mp4").stat().st_size > 1000
    assert "ends with .png" in fails(*names, *world, "--still", tmp_path / "s.jpg")
    assert "no video" in fails(*names, *world, "--seeds", "3:4", "--video", tmp_path / "v.mp4")
    assert "needs one of" in fails(*names, "--source", saved_drive, "--seeds", "3:4")
    assert "Mind" in fails(*names, *world, "--method", "Mind")


# Bad input: places to write --------------------------------------------------------------------------------


@pytest.fixture(params=["below a file", "below /proc"])
def unwritable(request, tmp_path):
    if request.param == "below /proc":
        if not os.path.isdir("/proc/self"):  # noqa: PTH112
            pytest.skip("no /proc here")
        return "/proc/nothing-here/out"
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "out"


def test_cli_place_that_cannot_be_written_is_an_error(fails, unwritable, udacity_sim, saved_policies, saved_drive):
    policy = saved_policies["ltc"]
    for arguments in (
        ["record", "--out", unwritable, "--seeds", "0:1"],
        ["import", "udacity-sim", udacity_sim, unwritable],
        ["train", "--data", saved_drive, "--out", unwritable],
        ["test", "--policy", policy, "--data", saved_drive, "--json", f"{unwritable}/f.json"],
        ["drive", "--policy", policy, "--json", f"{unwritable}/f.json"],
        ["drive", "--policy", policy, "--video", f"{unwritable}/f.mp4"],
        ["attend", "--policies", policy, "--source", saved_drive, "--json", f"{unwritable}/f.json"],
        ["attend", "--policies", policy, "--source", saved_drive, "--video", f"{unwritable}/f.mp4"],
        ["demo", "--out", unwritable, "--policy", policy],
    ):
        line = fails(*arguments)
        assert f"{unwritable}" in line
        assert "cannot be written" in line


def test_cli_folder_where_a_file_is_expected_is_an_error(fails, saved_policies, tmp_path):
    assert "got a folder" in fails("drive", "--policy", saved_policies["ltc"], "--json", tmp_path)


def test_cli_existing_drives_and_folders_are_not_replaced(fails, udacity_sim, drive_folder, tmp_path):
    before = sorted((path.name, path.read_bytes()) for path in drive_folder.iterdir())
    assert "--overwrite" in fails("record", "--out", drive_folder, "--seeds", "0:1")
    assert "--overwrite" in fails("import", "udacity-sim", udacity_sim, drive_folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    fails("import", "udacity-sim", udacity_sim, tmp_path / "other", "--overwrite")
    assert (tmp_path / "other" / "letter.txt").read_text() == "dear"
    (tmp_path / "file").write_text("mine")
    assert "got a file" in fails("record", "--out", tmp_path / "file", "--overwrite")
    assert sorted((path.name, path.read_bytes()) for path in drive_folder.iterdir()) == before


# Bad input: drives -----------------------------------------------------------------------------------------


def rewrite_table(folder, change):
    path = folder / "table.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")


def without_last_column(lines):
    return [line.rsplit(",", 1)[0] for line in lines]


def with_curvature(text):
    def change(lines):
        fields = lines[3].split(",")
        return [*lines[:3], ",".join([fields[0], text, fields[2]]), *lines[4:]]

    return change


def one_more_row(lines):
    time, *rest = lines[-1].split(",")
    return [*lines, ",".join([str(float(time) + 0.05), *rest])]


def cut_video(folder):
    path = folder / "frames.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fewer_frames(folder):
    """A table and a count that both promise a frame which the video lacks."""
    rewrite_table(folder, one_more_row)
    facts = json.loads((folder / "drive.json").read_text())
    (folder / "drive.json").write_text(json.dumps(facts | {"n_frames": facts["n_frames"] + 1}))


DAMAGES = {
    "no table": (lambda folder: (folder / "table.csv").unlink(), "table.csv"),
    "a missing column": (lambda folder: rewrite_table(folder, without_last_column), "speed_mps"),
    "a word": (lambda folder: rewrite_table(folder, with_curvature("left")), "'left'"),
    "NaN": (lambda folder: rewrite_table(folder, with_curvature("nan")), "finite number"),
    "more rows than the count": (lambda folder: rewrite_table(folder, one_more_row), "7 rows"),
    "fewer frames than rows": (fewer_frames, "6 frames"),
    "a truncated video": (cut_video, "cut short"),
    "no JSON": (lambda folder: (folder / "drive.json").write_text("{"), "JSON"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_cli_damaged_drive_is_an_error(fails, drive_folder, saved_policies, tmp_path, damage):
    harm, message = DAMAGES[damage]
    harm(drive_folder)
    for arguments in (
        ["test", "--policy", saved_policies["ltc"], "--data", drive_folder],
        ["train", "--data", drive_folder, "--out", tmp_path / "p"],
        ["attend", "--policies", saved_policies["ltc"], "--source", drive_folder],
    ):
        line = fails(*arguments)
        assert message in line
        assert str(drive_folder) in line


def test_cli_missing_and_empty_drives_are_errors(fails, saved_policies, tmp_path):
    policy = saved_policies["ltc"]
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "missing", tmp_path / "empty"):
        for arguments in (
            ["test", "--policy", policy, "--data", folder],
            ["train", "--data", folder, "--out", tmp_path / "p"],
            ["attend", "--policies", policy, "--source", folder],
        ):
            assert str(folder) in fails(*arguments)


def test_cli_bad_rows_of_a_drive_are_errors(fails, saved_drive, saved_policies):
    for rows in ("5", "a:b", "9:5", "0:99"):
        line = fails("test", "--policy", saved_policies["ltc"], "--data", f"{saved_drive}@{rows}")
        assert rows in line


def test_cli_drive_of_another_shape_is_an_error(fails, make_drive, saved_policies, tmp_path):
    drive_io.save(make_drive(6, size=(48, 64)), tmp_path / "square")
    for arguments in (
        ["test", "--policy", saved_policies["ltc"], "--data", tmp_path / "square"],
        ["train", "--data", tmp_path / "square", "--out", tmp_path / "p", "--window", 5],
        ["attend", "--policies", saved_policies["ltc"], "--source", tmp_path / "square"],
    ):
        assert "got 64x48" in fails(*arguments)


# Bad input: recordings to import ---------------------------------------------------------------------------


@pytest.fixture
def udacity_sim(tmp_path):
    """A small recording of Udacity's simulator, four rows."""
    folder = tmp_path / "recording"
    (folder / "IMG").mkdir(parents=True)
    lines = ["center,left,right,steering,throttle,brake,speed"]
    picture = np.random.default_rng(0).integers(0, 256, (160, 320, 3), dtype=np.uint8)
    for k in range(4):
        names = [f"{camera}_2020_05_09_22_16_58_{100 * k:03d}.jpg" for camera in ("center", "left", "right")]
        for name in names:
            cv2.imwrite(str(folder / "IMG" / name), picture)
        lines.append(",".join([*(f"C:\\me\\IMG\\{name}" for name in names), f"{0.1 * k}", "0.5", "0", "9.5"]))
    (folder / "driving_log.csv").write_text("\n".join(lines) + "\n")
    return folder


def rewrite_log(folder, old, new):
    path = folder / "driving_log.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def cut_picture(folder):
    path = sorted((folder / "IMG").glob("center_*"))[2]
    path.write_bytes(path.read_bytes()[:-500])


IMPORT_DAMAGES = {
    "a missing column": (lambda folder: rewrite_log(folder, ",steering", ",wheel"), "steering"),
    "a word": (lambda folder: rewrite_log(folder, ",0.2,", ",left,"), "1 without steering"),
    "fewer frames than rows": (
        lambda folder: sorted((folder / "IMG").glob("center_*"))[-1].unlink(),
        "1 picture missing",
    ),
    "a truncated picture": (cut_picture, "1 picture damaged"),
    "no table": (lambda folder: (folder / "driving_log.csv").unlink(), "driving_log.csv"),
}


@pytest.mark.parametrize("damage", IMPORT_DAMAGES)
def test_cli_damaged_recording_is_an_error(fails, udacity_sim, tmp_path, damage):
    harm, message = IMPORT_DAMAGES[damage]
    harm(udacity_sim)
    line = fails("import", "udacity-sim", udacity_sim, tmp_path / "out", "--strict")
    assert message in line
    assert str(udacity_sim) in line
    assert not (tmp_path / "out").exists()


def test_cli_import_says_on_one_line_what_it_left_out(succeeds, udacity_sim, tmp_path):
    rewrite_log(udacity_sim, ",0.2,", ",nan,")
    cut_picture(udacity_sim)
    sorted((udacity_sim / "IMG").glob("center_*"))[0].unlink()
    line = succeeds("import", "udacity-sim", udacity_sim, tmp_path / "out").splitlines()[0]
    assert line.endswith("2 frames, 1 piece(s), 0 min 0 s; 2 left out: 1 without steering, 1 picture missing")


@pytest.mark.parametrize("format_name", sorted(IMPORTERS))
def test_cli_missing_and_empty_recordings_are_errors(fails, tmp_path, format_name):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "missing", tmp_path / "empty"):
        assert str(folder) in fails("import", format_name, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cli_truncated_video_to_import_is_an_error(fails, tmp_path):
    folder = tmp_path / "ch2"
    folder.mkdir()
    with av.open(str(folder / "center.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.height, stream.width, stream.pix_fmt = 480, 640, "yuv420p"
        for k in range(3):
            picture = av.VideoFrame.from_ndarray(np.full((480, 640, 3), 50 * k, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    rows = [f"{k},{50_000_000 * k},0.1" for k in range(3)]
    (folder / "steering.csv").write_text("\n".join(["frame,timestamp_ns,steering_wheel_rad", *rows]) + "\n")
    whole = (folder / "center.mp4").read_bytes()
    (folder / "center.mp4").write_bytes(whole[: len(whole) // 2])
    assert "center.mp4" in fails("import", "udacity-ch2", folder, tmp_path / "out")  # the index of an mp4 is at its end
    (folder / "center.mp4").write_bytes(whole)
    (folder / "steering.csv").write_text((folder / "steering.csv").read_text() + "3,150000000,0.1\n")
    assert "1 without a frame" in fails("import", "udacity-ch2", folder, tmp_path / "out", "--strict")


# Bad input: checkpoints ------------------------------------------------------------------------------------


def change_weights(folder, change):
    path = folder / "weights.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def truncate_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


CHECKPOINT_DAMAGES = {
    "a missing tensor": (lambda f: change_weights(f, lambda w: w.pop("core.mu")), "core.mu"),
    "an extra tensor": (
        lambda f: change_weights(f, lambda w: w.update({"core.more": w["core.mu"].clone()})),
        "core.more",
    ),
    "a wrong shape": (lambda f: change_weights(f, lambda w: w.update({"core.mu": w["core.mu"][:-1]})), "core.mu"),
    "NaN": (lambda f: change_weights(f, lambda w: w["core.mu"].fill_(float("nan"))), "core.mu"),
    "truncated weights": (truncate_weights, "weights.safetensors"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json"),
    "a config that is no JSON": (lambda f: (f / "config.json").write_text("{"), "config.json"),
}


@pytest.mark.parametrize("damage", CHECKPOINT_DAMAGES)
def test_cli_damaged_checkpoint_is_an_error(fails, policy_folder, saved_drive, tmp_path, damage):
    harm, message = CHECKPOINT_DAMAGES[damage]
    harm(policy_folder)
    for arguments in (
        ["test", "--policy", policy_folder, "--data", saved_drive],
        ["drive", "--policy", policy_folder],
        ["attend", "--policies", policy_folder, "--source", saved_drive],
        ["train", "--init", policy_folder, "--data", saved_drive, "--out", tmp_path / "p"],
    ):
        assert message in fails(*arguments)
