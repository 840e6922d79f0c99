"""The sweep on a Ray cluster: the rows of one machine, whatever happens to a process."""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import pytest

from driving.harness.cluster import connect, drive_tasks_on, train_on
from driving.harness.store import CSV_NAME, EpisodeStore
from driving.harness.sweep import Sweep, run_sweep
from driving.models.policy import PolicyConfig, build_policy
from driving.noise import parse_noises
from driving.recipe import NewPolicy, Training, of_seeds
from driving.train import TrainConfig
from sim import drive as drive_io
from sim.errors import BadInputError


def test_cluster_without_ray_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInputError, match=r"pip install .liquid-lane\[ray\]"):
        connect("auto")


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of two processes on this machine."""
    pytest.importorskip("ray", reason='needs pip install "liquid-lane[ray]"')
    import ray

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_cluster_gives_the_rows_of_one_machine_though_a_process_is_killed(cluster, tmp_path):
    networks = {core: build_policy(PolicyConfig(core), 0).eval() for core in ("ltc", "lstm")}
    options = {"roadside": False, "family": "urban", "hills": False}
    sweep = Sweep(networks, "lane/Procedural-v0", parse_noises(["none", "late:mild"]), range(30), 1.0, options)
    texts, killed = [], []

    def on_row(key, row):
        if not killed:  # the first rows are there, others are being driven
            killed.append(next(iter(_at_work())))
            os.kill(killed[0], signal.SIGKILL)

    for name, drive, watch in (("here", None, None), ("there", lambda tasks: drive_tasks_on(cluster, tasks), on_row)):
        store = EpisodeStore(tmp_path / name)
        run_sweep(sweep, store, 1, watch or (lambda key, row: None), drive)
        store.write_csv(sweep.keys())
        store.close()
        texts.append((tmp_path / name / CSV_NAME).read_bytes())
    assert killed
    assert texts[0] == texts[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_cluster_trains_what_one_machine_trains_though_a_process_is_killed(cluster, make_drive, tmp_path):
    drive_io.save(make_drive(40, size=(78, 200)), tmp_path / "drive")
    config = TrainConfig(n_steps=40, batch=4, window=8, checkpoint_every=4, log_every=4)
    base = Training(tmp_path / "here", config, NewPolicy("ltc"), (str(tmp_path / "drive"),))
    here = of_seeds(base, [0, 1])
    for training in here:
        training.run()
    there = of_seeds(dataclasses.replace(base, out=tmp_path / "there"), [0, 1])
    killed, rows = [], []

    def on_row(i, row):
        rows.append((i, row["step"]))
        if not killed:
            killed.append(next(iter(_at_work("ray::_train"))))
            os.kill(killed[0], signal.SIGKILL)

    train_on(cluster, there, on_row=on_row)
    assert killed
    for a, b in zip(here, there, strict=True):
        assert (a.out / "weights.safetensors").read_bytes() == (b.out / "weights.safetensors").read_bytes()
    assert {(i, 4.0 * k) for i in range(2) for k in range(1, 11)} <= set(rows)
    wrong = dataclasses.replace(there[0], data=("nowhere",), out=tmp_path / "wrong")
    with pytest.raises(BadInputError, match="nowhere"):
        train_on(cluster, [wrong])
    train_on(cluster, there, resume=True)  # all done


def _at_work(what="ray::_drive"):
    """Processes of the cluster that work now."""
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            if line.startswith(what.encode()):
                found.add(int(process.name))
    return found
