"""The direction of the imports, read from the source with ``ast``."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("sim", "driving")
    for path in (ROOT / package).rglob("*.py")
}

# What a module may import from the project; a name stands for itself and, if it is a package, all inside it.
# Every module may import ``sim.errors``, ``sim.checks`` and the other modules of the package that a row names.
MAY_IMPORT = {
    "sim.errors": set(),
    "sim.checks": set(),
    "sim.conventions": set(),
    "sim.compiled": set(),
    "sim.cache_folder": set(),
    "sim.camera": {"sim.conventions"},
    "sim.road": {"sim.conventions"},
    "sim.families": set(),
    "sim.seasons": set(),
    "sim.weathers": {"sim.seasons"},
    "sim.speed": {"sim.road"},
    "sim.vehicle": {"sim.conventions"},
    "sim.surface_class": set(),
    "sim.changes": {"sim.surface_class"},
    "sim.ground_profile": {"sim.compiled"},
    "sim.appearance": {
        "sim.camera",
        "sim.changes",
        "sim.compiled",
        "sim.conventions",
        "sim.families",
        "sim.seasons",
        "sim.surface_class",
        "sim.weathers",
    },
    "sim.roadside": {
        "sim.cache_folder",
        "sim.camera",
        "sim.changes",
        "sim.compiled",
        "sim.ground_profile",
        "sim.appearance.atmosphere",
        "sim.appearance.section",
        "sim.appearance.scene",
        "sim.families",
        "sim.road",
        "sim.seasons",
        "sim.surface_class",
        "sim.files",
    },
    "sim.poster": {"sim.appearance.atmosphere", "sim.camera", "sim.reading", "sim.road", "sim.surface_class"},
    "sim.render": {
        "sim.camera",
        "sim.poster",
        "sim.compiled",
        "sim.conventions",
        "sim.ground_profile",
        "sim.appearance",
        "sim.road",
        "sim.roadside",
        "sim.surface_class",
    },
    "sim.reading": {"sim.camera", "sim.conventions"},
    "sim.files": set(),
    "sim.drive_writer": set(),
    "sim.drive": {"sim.camera", "sim.conventions", "sim.drive_writer", "sim.files", "sim.reading"},
    "sim.rig": {"sim.camera", "sim.drive"},
    "sim.steering": {"sim.conventions", "sim.drive"},
    "sim.label_table": {"sim.conventions", "sim.reading", "sim.steering"},
    "sim.video_file": {"sim.reading"},
    "sim.horizon": set(),
    "sim.lerobot": {"sim.drive", "sim.drive_writer", "sim.files"},
    "sim.recording": {
        "sim.camera",
        "sim.conventions",
        "sim.drive",
        "sim.drive_writer",
        "sim.files",
        "sim.label_table",
        "sim.reading",
        "sim.rig",
    },
    "sim.frame_cache": {"sim.cache_folder", "sim.drive", "sim.files"},
    "sim.expert": {"sim.conventions", "sim.road"},
    "sim.disturbance": set(),
    "sim.processes": set(),
    "sim.injection": set(),
    "sim.episodes": {"sim.disturbance", "sim.injection", "sim.lane_env"},
    "sim.episode_workers": {"sim.episodes", "sim.injection", "sim.lane_env", "sim.processes"},
    "sim.record": {"sim.disturbance", "sim.drive", "sim.episode_workers", "sim.episodes", "sim.lane_env"},
    "sim.birds_eye": set(),
    "sim.window": set(),
    "sim.lane_env": {"sim.birds_eye", "sim.camera", "sim.conventions", "sim.expert", "sim.road", "sim.window"},
    "sim.vector": {"sim.processes", "sim.vector_worker"},
    "sim.vector_worker": {"sim.lane_env", "sim.processes"},
    "sim.viewpoint": {"sim.camera", "sim.conventions"},
    "sim.odometry": {"sim.camera", "sim.conventions", "sim.drive", "sim.road"},
    "sim.procedural_config": {
        "sim.camera",
        "sim.changes",
        "sim.families",
        "sim.lane_env",
        "sim.seasons",
        "sim.weathers",
    },
    "sim.procedural_env": {
        "sim.camera",
        "sim.changes",
        "sim.conventions",
        "sim.expert",
        "sim.families",
        "sim.lane_env",
        "sim.appearance",
        "sim.poster",
        "sim.procedural_config",
        "sim.render",
        "sim.road",
        "sim.roadside",
        "sim.speed",
        "sim.surface_class",
        "sim.vehicle",
        "sim.seasons",
        "sim.weathers",
    },
    "sim.contact_sheet": {"sim.families", "sim.files", "sim.procedural_env", "sim.seasons", "sim.weathers"},
    "sim.replay_config": {"sim.drive", "sim.lane_env"},
    "sim.replay_env": {
        "sim.conventions",
        "sim.drive",
        "sim.expert",
        "sim.replay_config",
        "sim.lane_env",
        "sim.odometry",
        "sim.road",
        "sim.vehicle",
        "sim.viewpoint",
    },
    "sim.adapters": {
        "sim.cache_folder",
        "sim.camera",
        "sim.conventions",
        "sim.expert",
        "sim.lane_env",
        "sim.road",
        "sim.speed",
    },
    "sim.importers": {
        "sim.camera",
        "sim.conventions",
        "sim.drive",
        "sim.horizon",
        "sim.drive_writer",
        "sim.label_table",
        "sim.lerobot",
        "sim.reading",
        "sim.recording",
        "sim.rig",
        "sim.steering",
        "sim.video_file",
    },
    "driving.models.wiring": {"driving.models.ncps_cells"},
    "driving.models": {"sim.conventions", "sim.files"},
    "driving.models.stepper": {"driving.models", "driving.runtime", "sim.compiled"},
    "driving.models.ltc_fast": {"driving.models.wiring", "sim.compiled"},
    "driving.attention": {"driving.models", "sim.conventions"},
    "driving.attention.score": set(),
    "driving.data": {"sim.conventions", "sim.drive", "sim.expert", "sim.frame_cache", "sim.viewpoint"},
    "driving.drive_plot": {"sim.drive", "sim.files", "sim.recording"},
    "driving.drive_video": {"driving.video", "sim.camera", "sim.drive"},
    "driving.onlooker": {
        "driving.attention",
        "driving.harness",
        "driving.models",
        "driving.noise",
        "driving.others",
        "sim.episodes",
    },
    "driving.drive_rerun": {
        "driving.attention",
        "driving.onlooker",
        "driving.instants",
        "driving.models",
        "driving.video",
        "sim.drive",
        "sim.files",
    },
    "driving.car": {"driving.models", "sim.conventions", "sim.drive"},
    "driving.learning_curve": {"sim.files"},
    "driving.train": {
        "driving.data",
        "driving.learning_curve",
        "driving.models",
        "driving.open_loop",
        "sim.drive",
        "sim.files",
        "sim.frame_cache",
    },
    "driving.online": {
        "driving.data",
        "driving.models",
        "driving.train",
        "sim.disturbance",
        "sim.episode_workers",
        "sim.episodes",
        "sim.lane_env",
        "sim.record",
    },
    "driving.model_card": {"driving.models"},
    "driving.pretraining": {
        "driving.data",
        "driving.learning_curve",
        "driving.models",
        "driving.train",
        "sim.lane_env",
    },
    "driving.recipe": {
        "driving.car",
        "driving.data",
        "driving.learning_curve",
        "driving.model_card",
        "driving.models",
        "driving.online",
        "driving.pretraining",
        "driving.response",
        "driving.rollout",
        "driving.settings",
        "driving.train",
        "sim.drive",
        "sim.files",
        "sim.frame_cache",
        "sim.processes",
    },
    "driving.response": {"driving.models", "sim.conventions", "sim.lane_env"},
    "driving.attack": {"driving.models"},
    "driving.rollout": {
        "driving.attack",
        "driving.models",
        "driving.noise.adversary",
        "driving.noise",
        "sim.episode_workers",
        "sim.episodes",
        "sim.injection",
        "sim.lane_env",
    },
    "driving.noise": {"sim.camera", "sim.injection"},
    "driving.noise.sheet": {"driving.noise", "sim.files", "sim.procedural_env"},
    "driving.video": {"driving.models.wiring", "sim.files", "sim.processes"},
    "driving.poster": {
        "driving.models",
        "driving.rollout",
        "driving.settings",
        "sim.conventions",
        "sim.episodes",
        "sim.files",
        "sim.poster",
        "sim.procedural_env",
        "sim.render",
    },
    "driving.notebook": {"driving.circuit_plot", "driving.models", "driving.video"},
    "driving.study": {
        "driving.attention",
        "driving.data",
        "driving.instants",
        "sim.drive",
        "sim.injection",
        "driving.harness.figures",
        "driving.harness.statistics",
        "driving.models",
        "driving.noise",
        "driving.rollout",
        "driving.settings",
        "sim.camera",
        "sim.changes",
        "sim.conventions",
        "sim.files",
        "sim.disturbance",
        "sim.episode_workers",
        "sim.episodes",
        "sim.lane_env",
        "sim.processes",
        "sim.render",
        "sim.surface_class",
    },
    "driving.others": {
        "driving.models",
        "driving.rollout",
        "driving.runtime",
        "sim.conventions",
        "sim.episodes",
        "sim.files",
    },
    "driving.open_loop": {
        "driving.data",
        "driving.instants",
        "driving.models",
        "driving.rollout",
        "sim.conventions",
        "sim.drive",
        "sim.frame_cache",
    },
    "driving.sb3": set(),
    "driving.api_pages": {"driving", "sim", "sim.files"},
    "driving.examples": {
        "driving.attention",
        "driving.models",
        "driving.sb3",
        "driving.video",
        "sim.conventions",
        "sim.vector",
    },
    "driving.serve": {
        "driving.attention",
        "driving.compare",
        "driving.instants",
        "driving.models",
        "driving.noise",
        "driving.onlooker",
        "driving.rollout",
        "driving.settings",
        "driving.video",
        "sim.conventions",
        "sim.drive",
        "sim.episodes",
        "sim.families",
        "sim.files",
        "sim.injection",
        "sim.processes",
        "sim.seasons",
        "sim.weathers",
    },
    "driving.harness.benchmark": {
        "driving.console",
        "driving.harness",
        "driving.models",
        "driving.noise",
        "driving.others",
    },
    "driving.harness.cluster": {
        "sim.files",
        "driving.learning_curve",
        "driving.recipe",
        "driving.rollout",
        "sim.episode_workers",
        "sim.episodes",
    },
    "driving.harness": {
        "driving.attention",
        "driving.compare",
        "driving.insight",
        "driving.models",
        "driving.noise",
        "driving.others",
        "driving.rollout",
        "driving.settings",
        "sim.conventions",
        "sim.episode_workers",
        "sim.episodes",
        "sim.files",
        "sim.lane_env",
        "sim.processes",
    },
    "driving.report": {"driving.noise", "sim.files"},
    "driving.insight": {"driving.models", "driving.rollout", "sim.conventions", "sim.episodes", "sim.lane_env"},
    "driving.circuit_plot": {"driving.models.wiring", "sim.files"},
    "driving.export": {"driving.models", "driving.runtime", "sim.camera", "sim.conventions", "sim.files"},
    "driving.runtime": set(),
}
# Numbers and the standard library only: nothing from outside but these.
OUTSIDE = {
    "sim.errors": set(),
    "sim.conventions": {"numpy"},
    "sim.camera": {"numpy"},
    "sim.road": {"numpy"},
    "sim.vehicle": {"numpy"},
    "sim.expert": {"numpy"},
    "driving.models.wiring": {"numpy"},
}


def imported(name: str) -> set[str]:
    """Full names of all modules that a module imports, anywhere in its text."""
    found = set()
    package = name if SOURCES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(SOURCES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            inner = {f"{base}.{alias.name}" for alias in node.names} & SOURCES.keys()
            found |= inner or {base}
            if len(inner) < len(node.names):
                found.add(base)
    return found


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def row_of(name: str) -> str | None:
    """The most special row of the table that a module falls under."""
    return max((row for row in MAY_IMPORT if inside(name, row)), key=len, default=None)


@pytest.mark.parametrize("name", sorted(name for name in SOURCES if row_of(name)))
def test_imports_follow_the_table(name):
    row = row_of(name)
    allowed = MAY_IMPORT[row] | {"sim.errors", "sim.checks", row}
    project = {other for other in imported(name) if other.split(".")[0] in ("sim", "driving")}
    wrong = {other for other in project if not any(inside(other, good) for good in allowed)}
    assert not wrong, f"{name} may import {sorted(allowed)}, not {sorted(wrong)}"


@pytest.mark.parametrize("name", sorted(OUTSIDE))
def test_imports_of_plain_modules_are_numbers_only(name):
    outside = {other.split(".")[0] for other in imported(name)} - {"sim", "driving", "__future__"}
    assert outside - sys.stdlib_module_names <= OUTSIDE[name]


@pytest.mark.parametrize("name", sorted(name for name in SOURCES if inside(name, "sim")))
def test_imports_of_the_world_know_no_driver(name):
    roots = {other.split(".")[0] for other in imported(name)}
    assert not roots & {"driving", "torch", "torchvision", "captum", "safetensors"}


def test_imports_of_environments_are_never_each_other():
    def world(name: str) -> str | None:
        """Which environment a module is a part of: an adapter is several files."""
        if inside(name, "sim.adapters"):
            return "sim.adapters"
        return name if name.endswith("_env") and name != "sim.lane_env" else None

    environments = {name for name in SOURCES if world(name)}
    assert {"sim.procedural_env", "sim.replay_env", "sim.adapters.metadrive"} <= environments
    for name in environments:
        assert all(world(other) in (None, world(name)) for other in imported(name)), name
    for name in (name for name in SOURCES if inside(name, "sim.importers")):
        assert not imported(name) & environments, name


def test_imports_of_the_command_line_only_by_its_entry():
    importers = {name for name in SOURCES if any(inside(other, "driving.cli") for other in imported(name))}
    assert importers - {"driving.cli"} == {"driving.__main__"}
    users = {name for name in SOURCES if any(inside(other, "driving.commands") for other in imported(name))}
    assert {name for name in users if not inside(name, "driving.commands")} == set()  # cli does by name


def test_imports_of_captum_only_in_its_own_file():
    users = {name for name in SOURCES if any(inside(other, "captum") for other in imported(name))}
    assert {user.rpartition(".")[0] for user in users} == {"driving.attention"}


def test_imports_table_names_only_what_exists():
    mentioned = MAY_IMPORT.keys() | OUTSIDE.keys() | set().union(*MAY_IMPORT.values())
    assert mentioned <= SOURCES.keys()


def test_imports_reader_sees_every_form_of_import(tmp_path, monkeypatch):
    source = tmp_path / "module.py"
    source.write_text(
        "import os.path\nfrom sim import drive as d, nothing\nfrom . import road\n"
        "from .camera import Camera\n"
        "def f():\n    import torch\n"
    )
    monkeypatch.setitem(SOURCES, "sim.module", source)
    assert imported("sim.module") == {"os.path", "sim", "sim.drive", "sim.road", "sim.camera", "torch"}


def test_imports_of_the_world_load_no_torch_and_warn_of_nothing():
    code = (
        "import sys, gymnasium\n"
        "env = gymnasium.make('sim:lane/Procedural-v0')\n"
        "env.reset(seed=1); env.step(env.action_space.sample())\n"
        "assert not {'torch', 'captum', 'driving', 'matplotlib'} & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
