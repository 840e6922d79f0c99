"""Episodes on several processes: the same results, and a clear end whatever happens to a worker."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from driving.models import checkpoint
from driving.rollout import rollout
from driving.settings import World
from sim import episode_workers
from sim.disturbance import Disturbance
from sim.episode_workers import Crew, drive_episodes
from sim.episodes import EpisodePlan, ExpertActor
from sim.errors import BadInputError, WorkerLostError

PLAIN = World("lane/Procedural-v0", {"roadside": False, "family": "urban", "episode_seconds": 60.0})
KICKS = Disturbance(mean_interval_s=0.3)


def plans(n, seconds=0.5):
    return [EpisodePlan(seed, seconds, {"along_road_m": 20.0}, KICKS, (1, seed)) for seed in range(n)]


class CountingWatcher:
    """Counts instants; says in which process."""

    def __init__(self):
        self.n, self.pid = 0, os.getpid()

    def watch(self, instants):
        self.n += len(instants)

    def result(self):
        return self.n, self.pid


class BrokenActor(ExpertActor):
    """Fails in the middle of an episode."""

    def act(self, instants):
        super().act(instants)
        if instants[0].time_s > 0.2:
            raise BadInputError("the actor broke")


class DyingActor(ExpertActor):
    """Its process is killed in the middle of an episode."""

    def act(self, instants):
        super().act(instants)
        if instants[0].time_s > 0.2 and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)


def no_worker_is_left():
    deadline = time.monotonic() + 10
    while (children := multiprocessing.active_children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not children


def test_workers_give_the_same_rows_in_the_same_order_for_any_number():
    crew = Crew(PLAIN, ExpertActor, CountingWatcher)
    results = [drive_episodes(crew, plans(7), n_workers) for n_workers in (1, 2, 3)]
    logs = [[log for group in groups for log in group.logs] for groups in results]
    assert [log.seed for log in logs[0]] == list(range(7))
    assert logs[0] == logs[1] == logs[2]
    assert len({log.distance_m for log in logs[0]}) == 7
    for groups, n_workers in zip(results, (1, 2, 3), strict=True):
        assert sum(group.watched[0] for group in groups) == 7 * 10
        pids = {group.watched[1] for group in groups}
        assert (pids == {os.getpid()}) == (n_workers == 1)
        assert len(pids) == n_workers
    assert no_worker_is_left()


@pytest.mark.slow
def test_workers_drive_a_policy_as_one_process_does(saved_policies):
    policy = checkpoint.load(saved_policies["ltc"])
    alone, shared = (rollout(policy, PLAIN, range(4), 0.5, n_workers=n) for n in (1, 2))
    assert alone == shared
    assert len(np.unique(alone[0].curvature_per_m)) > 1


def test_workers_report_all_of_the_time(monkeypatch):
    done_s = []
    drive_episodes(Crew(PLAIN, ExpertActor), plans(4), 2, done_s.append)
    assert sum(done_s) == pytest.approx(4 * 0.5)


def test_workers_error_is_raised_here_as_itself():
    with pytest.raises(BadInputError, match="the actor broke"):
        drive_episodes(Crew(PLAIN, BrokenActor), plans(4), 2)
    assert no_worker_is_left()


def test_workers_one_that_is_killed_is_one_line_with_its_seeds():
    with pytest.raises(WorkerLostError, match=r"ended by itself while it drove seeds \d, \d; .*memory") as error:
        drive_episodes(Crew(PLAIN, DyingActor), plans(4), 2)
    assert "\n" not in str(error.value)
    assert no_worker_is_left()


def test_workers_are_no_more_than_groups_and_few_worlds_live_in_a_process(monkeypatch):
    assert episode_workers.MIN_TOGETHER == 2
    groups = drive_episodes(Crew(PLAIN, ExpertActor, CountingWatcher), plans(2, 0.1), 8)
    assert [group.watched[1] for group in groups] == [os.getpid()]


@pytest.mark.slow
def test_workers_end_with_an_interrupt(tmp_path):
    """Ctrl-C in a terminal: the whole process group gets it, the command says so, nothing is left."""
    # Under some shells the tests themselves, and what they start, would ignore the signal.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from driving.cli import main; sys.exit(main())"
    arguments = ["drive", "--policy", "ltc19", "--seeds", "0:8", "--seconds", "600", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parents[1], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    killer = threading.Timer(120, process.kill)
    killer.start()
    deadline = time.monotonic() + 60
    while len(_descendants(process.pid)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2.0)
    family = _descendants(process.pid)
    assert len(family) >= 3  # fork server and two workers
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    killer.cancel()
    assert (process.returncode, errors.strip().splitlines()[-1]) == (130, "stopped")
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/stat").exists() for pid in family) and time.monotonic() < deadline:
        time.sleep(0.1)
    alive = [pid for pid in family if Path(f"/proc/{pid}").exists()]
    assert not [pid for pid in alive if "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]]


def _descendants(pid):
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(stat.parent.name)
            children += [child, *_descendants(child)]
    return children
