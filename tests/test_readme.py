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


def blocks(language):
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [text for found, text in fences if found == language]


def test_readme_test_command_is_exactly_what_ci_runs():
    (command,) = [block.strip() for block in blocks("sh") if "pytest" in block]
    assert "\n" not in command
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("\n" + command)


def test_readme_demo_command_is_one_line_that_ends_in_the_demo():
    (command,) = [block.strip() for block in blocks("sh") if block.strip().endswith("liquid-lane demo")]
    assert "\n" not in command


def test_readme_names_every_command_and_only_those():
    commands = set(COMMANDS)
    table = set(re.findall(r"^\| `([a-z]+)[^|]*\|", README, flags=re.MULTILINE))
    used = set(re.findall(r"^liquid-lane ([a-z]+)", "\n".join(blocks("sh")), flags=re.MULTILINE))
    assert commands <= table
    assert used <= commands


def test_readme_options_exist():
    known = {option for name in COMMANDS for p in load_command(name).params for option in p.opts}
    known |= {"--help", "--version", "--install-completion"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", README)) <= known


def test_readme_file_tree_exists():
    (tree,) = [block for block in blocks("") if "driving/" in block]
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
    code = blocks("python")[1]
    export(build_policy(), tmp_path / "exported" / "ltc19", "ltc19")
    monkeypatch.chdir(tmp_path)
    names: dict = {"frame": np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8), "t": 0.5}
    exec(compile(code, "README.md", "exec"), names)
    assert np.isfinite(names["curvature_per_m"])
    assert names["driver"].healthy
