"""What README.md promises: its commands are the ones that are run, its example runs, its names exist."""

import re
from pathlib import Path

import numpy as np
import pytest

from driving.cli import COMMANDS, load_command
from driving.export import export
from driving.models.policy import build_policy

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ALL = [ROOT / folder / "README.md" for folder in ("", "checkpoints", "driving", "driving/attention", "sim")]
every_readme = pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(language, text=README):
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [text for found, text in fences if found == language]


def test_readme_test_command_is_exactly_what_ci_runs():
    (command,) = [block.strip() for block in blocks("sh") if "pytest" in block]
    assert "\n" not in command
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\n" + command)


def test_readme_demo_command_is_one_line_that_ends_in_the_demo():
    (command,) = [block.strip() for block in blocks("sh") if block.strip().endswith("liquid-lane demo")]
    assert "\n" not in command


def test_readme_names_every_command():
    table = set(re.findall(r"^\| `([a-z]+)[^|]*\|", README, flags=re.MULTILINE))
    assert set(COMMANDS) <= table


@every_readme
def test_readme_commands_and_options_exist(path):
    text = path.read_text()
    lines = re.findall(r"^liquid-lane (.+)", "\n".join(blocks("sh", text)), flags=re.MULTILINE)
    lines += re.findall(r"`liquid-lane ([^`]+)`", text)
    for line in lines:
        name, *words = line.split()
        if name in ("COMMAND", "--install-completion"):
            continue
        assert name in COMMANDS, line
        known = {option for parameter in load_command(name).params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, line
    known = {option for name in COMMANDS for p in load_command(name).params for option in p.opts}
    known |= {"--help", "--version", "--install-completion"}
    assert set(re.findall(r"`(--[a-z][a-z0-9-]*)", text)) <= known


@every_readme
def test_readme_links_resolve(path):
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize(
    ("what", "file", "text"),
    [
        ("the LTC equation", "driving/models/ltc.py", "dv"),
        ("the corruptions", "driving/noise/__init__.py", "KINDS"),
        ("the training loop", "driving/train.py", "loss.backward()"),
        ("the drawing of a frame", "sim/render.py", "def draw("),
        ("the crash test", "sim/lane_env.py", "terminated"),
        ("the attention score", "driving/attention/score.py", "def on_road_share"),
    ],
)
def test_readme_file_tree_says_where_to_look(what, file, text):
    """A stranger's question: the line of the tree that speaks of it names the file."""
    (tree,) = [block for block in blocks("") if "driving/  " in block]
    name = file.split("/")[-1]
    lines = [line for line in tree.splitlines() if what in line]
    assert any(name in line or name.removesuffix(".py") in line for line in lines), what
    assert text in (ROOT / file).read_text()


def test_readme_file_tree_exists():
    (tree,) = [block for block in blocks("") if "driving/  " in block]
    folder = ROOT
    for line in tree.splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        if not line.startswith(" "):
            folder = ROOT / names[0]
            assert folder.is_dir(), line
            continue
        for name in names:
            assert (folder / name).exists(), f"{folder}: {name}"


@pytest.mark.filterwarnings("default")
def test_readme_python_example_runs():
    code = blocks("python")[0]
    short = code.replace('v0")', 'v0", episode_seconds=1.0)')
    assert short != code
    names: dict = {}
    exec(compile(short, "README.md", "exec"), names)
    assert names["truncated"]
    assert names["state"].shape == (1, 19)


def test_readme_deployment_example_runs(tmp_path, monkeypatch):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    (code,) = blocks("python", (ROOT / "driving" / "README.md").read_text())
    export(build_policy(), tmp_path / "exported" / "ltc19", "ltc19")
    monkeypatch.chdir(tmp_path)
    names: dict = {"frame": np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8), "t": 0.5}
    exec(compile(code, "README.md", "exec"), names)
    assert np.isfinite(names["curvature_per_m"])
    assert names["driver"].healthy
