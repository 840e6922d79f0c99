"""Many worlds at once: each does what the single environment does, and its processes leave nothing behind."""

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import sim  # noqa: F401  (registers the environments)
from sim import processes, vector
from sim.errors import BadInputError
from sim.vector import LaneVectorEnv

PROCEDURAL = "sim:lane/Procedural-v0"

# A world of plain numbers for what the real ones never do; workers import it by its name.
WITNESS = """
import os
import gymnasium
import numpy as np

class Witness(gymnasium.Env):
    MAX_PER_PROCESS = 2
    metadata = {"render_modes": ["rgb_array"], "render_fps": 7}

    def __init__(self, render_mode=None, length=3, fail_at=-1, die_at=-1):
        if length < 1:
            raise ValueError(f"length: expected at least 1, got {length}")
        self.render_mode, self.length, self.fail_at, self.die_at = render_mode, length, fail_at, die_at
        self.observation_space = gymnasium.spaces.Box(0, 255, (2, 3, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.k, self.start = 0, (options or {}).get("start", int(self.np_random.integers(100)))
        return self._observe(0.0)

    def step(self, action):
        self.k += 1
        if self.k == self.fail_at:
            raise KeyError("the world broke")
        if self.k == self.die_at:
            os._exit(3)
        frame, info = self._observe(float(action[0]))
        return frame, 0.5 * self.k, False, self.k >= self.length + self.start % 3, info

    def _observe(self, command):
        info = {"command": command, "count": self.k, "even": self.k % 2 == 0, "single": np.float32(command),
                "mask": np.full((2, 3), self.k % 2 == 1), "setting": {"season": f"s{self.start % 2}"},
                "pid": os.getpid()}
        if self.k:
            info["late"] = 1.5 * self.k
            info["reason"] = "even" if self.k % 2 == 0 else None
        else:
            info["first"] = self.start
        return np.full((2, 3, 3), self.start + self.k, np.uint8), info

    def render(self):
        return np.full((4, 4, 3), self.start, np.uint8)

gymnasium.register("witness/Witness-v0", entry_point=Witness)
"""


@pytest.fixture
def witness(tmp_path, monkeypatch):
    """Maker of witness worlds, many at once."""
    (tmp_path / "lane_witness.py").write_text(WITNESS)
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(num_envs=1, **options):
        made.append(LaneVectorEnv("lane_witness:witness/Witness-v0", num_envs, **options))
        return made[-1]

    yield make
    for envs in made:
        envs.close()
    gymnasium.registry.pop("witness/Witness-v0", None)
    sys.modules.pop("lane_witness", None)


def assert_same(one, other):
    """Nested dicts and tuples of arrays, equal in values and kinds."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


# The worlds are the single ones ----------------------------------------------------------------------------


def test_vector_worlds_do_what_single_ones_do():
    n, options = 3, {"episode_seconds": 0.3}
    singles = [gymnasium.make("lane/Procedural-v0", **options) for _ in range(n)]
    envs = LaneVectorEnv(PROCEDURAL, n, n_workers=2, **options)
    rng = np.random.default_rng(5)
    try:
        frames, infos = envs.reset(seed=11)
        alone = [env.reset(seed=11 + i) for i, env in enumerate(singles)]
        over = [False] * n
        for k in range(9):
            for i, (frame, *_, info) in enumerate(alone):
                np.testing.assert_array_equal(frames[i], frame)
                for key, value in info.items():
                    if isinstance(value, dict):
                        assert {name: infos[key][name][i] for name in value} == value
                    else:
                        np.testing.assert_array_equal(infos[key][i], value)
                    assert infos[f"_{key}"].all()
            actions = rng.uniform(-0.02, 0.02, (n, 1)).astype(np.float32)
            frames, rewards, terminations, truncations, infos = envs.step(actions)
            for i, env in enumerate(singles):
                if over[i]:
                    alone[i] = env.reset()
                    assert (rewards[i], terminations[i], truncations[i]) == (0.0, False, False)
                else:
                    alone[i] = env.step(actions[i])
                    assert (rewards[i], terminations[i], truncations[i]) == alone[i][1:4]
                over[i] = bool(terminations[i] or truncations[i])
            assert all(over) == (k == 5)  # six steps of 0.05 s, then a new episode
    finally:
        envs.close()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(
    ("n_workers", "method"), [(1, None), (2, None), (5, None), pytest.param(2, "spawn", marks=pytest.mark.slow)]
)
def test_vector_equals_gymnasiums_own(witness, monkeypatch, n_workers, method, mode):
    monkeypatch.setattr(processes, "START_METHOD", method or processes.START_METHOD)
    envs = witness(5, n_workers=n_workers, autoreset_mode=mode)
    other = SyncVectorEnv([lambda: gymnasium.make("witness/Witness-v0")] * 5, autoreset_mode=mode)
    assert envs.observation_space == other.observation_space
    assert envs.action_space == other.action_space
    assert envs.metadata == other.metadata
    rng = np.random.default_rng(0)
    asked = [(envs.reset(seed=3), other.reset(seed=3))]
    for k in range(12):
        actions = rng.uniform(-1, 1, (5, 1)).astype(np.float32)
        asked.append((envs.step(actions), other.step(actions)))
        if k == 7:
            asked.append((envs.reset(seed=[4, 2, 7, 9, 0]), other.reset(seed=[4, 2, 7, 9, 0])))
        if k == 9:
            asked.append((envs.reset(options={"start": 40}), other.reset(options={"start": 40})))
    for mine, theirs in asked:
        for infos in (mine[-1], theirs[-1]):
            del infos["pid"]
            infos.get("final_info", {}).pop("pid", None)
            for frames in ([*infos.pop("final_obs")],) if "final_obs" in infos else ():
                infos["last frames"] = tuple(frame for frame in frames if frame is not None)
        assert_same(mine, theirs)
    assert any(answer[0][3].any() for answer in asked if len(answer[0]) == 5)


def test_vector_without_autoreset_equals_gymnasiums_own(witness):
    envs = witness(4, n_workers=2, autoreset_mode="Disabled")
    other = SyncVectorEnv([lambda: gymnasium.make("witness/Witness-v0")] * 4, autoreset_mode=AutoresetMode.DISABLED)
    asked = [(envs.reset(seed=3), other.reset(seed=3))]
    n_masks = 0
    for _ in range(12):
        actions = np.full((4, 1), 0.5, np.float32)
        asked.append((envs.step(actions), other.step(actions)))
        over = asked[-1][1][3]
        if over.any():
            n_masks += not over.all()
            asked.append(tuple(e.reset(options={"reset_mask": over.copy()}) for e in (envs, other)))
    for mine, theirs in asked:
        del mine[-1]["pid"], theirs[-1]["pid"]
        assert_same(mine, theirs)
    assert n_masks > 1
    while not envs.step(actions)[3].any():
        pass
    with pytest.raises(BadInputError, match=r"world \d has ended; reset it"):
        envs.step(actions)


@pytest.mark.parametrize("mask", [[True, False], np.zeros(4, bool), np.ones(4, int)])
def test_vector_wrong_reset_mask_is_one_line(witness, mask):
    envs = witness(4, n_workers=1)
    with pytest.raises(BadInputError, match="expected a reset_mask of 4 bools"):
        envs.reset(options={"reset_mask": mask})
    with pytest.raises(BadInputError, match="autoreset_mode: expected one of"):
        witness(1, autoreset_mode="sometimes")


def test_vector_is_what_make_vec_makes_with_options(monkeypatch):
    spec = copy.deepcopy(gymnasium.spec("lane/Procedural-v0"))
    spec.vector_entry_point = "sim.vector:make_procedural"
    monkeypatch.setitem(gymnasium.registry, "lane/Procedural-v0", spec)
    envs = gymnasium.make_vec("lane/Procedural-v0", 2, episode_seconds=0.05, render_mode="rgb_array", n_workers=1)
    try:
        assert isinstance(envs, LaneVectorEnv)
        assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
        assert envs.observation_space.shape == (2, 78, 200, 3)
        envs.reset(seed=1)
        *_, truncations, infos = envs.step(np.zeros((2, 1), np.float32))
        assert truncations.all()
        assert infos["road_mask"].shape == (2, 78, 200)
        assert infos["road_mask"].dtype == np.bool_
        pictures = envs.render()
        assert len(pictures) == 2
        assert pictures[0].shape == (234, 600, 3)
        assert not np.array_equal(*pictures)
        answers = envs.call("expert_curvature_per_m")
        assert len(answers) == 2
        assert all(isinstance(answer, float) for answer in answers)
        assert envs.call("dt_s") == (0.05, 0.05)
    finally:
        envs.close()


@pytest.mark.parametrize("name", ["procedural", "replay", "metadrive"])
def test_vector_entry_points_name_their_world(monkeypatch, name):
    seen = {}
    monkeypatch.setattr(vector, "LaneVectorEnv", lambda *args, **kwargs: seen.update(args=args, kwargs=kwargs))
    getattr(vector, f"make_{name}")(num_envs=3, season="winter")
    assert seen["args"][0].lower() == f"sim:lane/{name}-v0"
    assert (seen["args"][1], seen["kwargs"]) == (3, {"season": "winter"})


def test_vector_answers_are_the_callers_own(witness):
    envs = witness(2, n_workers=1)
    frames, infos = envs.reset(seed=0)
    kept, mask = frames.copy(), infos["mask"].copy()
    actions = np.zeros((2, 1), np.float32)
    envs.step(actions)
    np.testing.assert_array_equal(frames, kept)
    np.testing.assert_array_equal(infos["mask"], mask)


def test_vector_processes_hold_no_more_worlds_than_they_may(witness):
    def n_processes(**options):
        return len(set(witness(**options).reset(seed=0)[1]["pid"].tolist()))

    assert n_processes(num_envs=5, n_workers=1) == 3  # MAX_PER_PROCESS is 2
    assert n_processes(num_envs=2, n_workers=1) == 1
    assert n_processes(num_envs=2, n_workers=7) == 2


# What goes wrong -------------------------------------------------------------------------------------------


def test_vector_wrong_options_fail_before_any_process_starts(witness, monkeypatch):
    monkeypatch.setattr(vector, "context", lambda: pytest.fail("too late"))
    with pytest.raises(ValueError, match="length: expected at least 1"):
        witness(2, length=0)
    with pytest.raises(BadInputError, match="no_such_option"):
        LaneVectorEnv(PROCEDURAL, 2, no_such_option=1)
    for options in ({"num_envs": 0}, {"num_envs": 2, "n_workers": 0}):
        with pytest.raises(BadInputError, match="at least 1"):
            witness(**options)


def test_vector_wrong_seeds_and_actions_are_errors(witness):
    envs = witness(3, n_workers=1)
    with pytest.raises(BadInputError, match="3 worlds, got 2"):
        envs.reset(seed=[1, 2])
    envs.reset(seed=1)
    with pytest.raises(BadInputError, match=r"\(3, 1\), got \(3,\)"):
        envs.step(np.zeros(3, np.float32))


def test_vector_exceptions_come_back_as_themselves(witness):
    envs = witness(4, n_workers=2, fail_at=2)
    envs.reset(seed=1)
    actions = np.zeros((4, 1), np.float32)
    envs.step(actions)
    with pytest.raises(KeyError, match="the world broke") as caught:
        envs.step(actions)
    assert "in step" in caught.value.__notes__[0]
    frames, _ = envs.reset(seed=1)  # every answer was read, so the next one is to the next question
    np.testing.assert_array_equal(frames, witness(4, n_workers=2).reset(seed=1)[0])
    real = LaneVectorEnv(PROCEDURAL, 2, n_workers=1)
    try:
        real.reset(seed=1)
        with pytest.raises(BadInputError, match="finite curvature"):
            real.step(np.array([[0.0], [np.nan]], np.float32))
    finally:
        real.close()


def test_vector_worker_that_dies_is_an_error_and_the_others_end(witness):
    envs = witness(4, n_workers=2, die_at=2)
    envs.reset(seed=1)
    actions = np.zeros((4, 1), np.float32)
    envs.step(actions)
    with pytest.raises(RuntimeError, match=r"worker process 0 of 2 ended by itself \(exit status 3\)"):
        envs.step(actions)
    assert envs.closed
    assert not any(process.is_alive() for process in envs._processes)


def test_vector_closed_worlds_say_so(witness):
    envs = witness(2)
    processes = envs._processes
    envs.close()
    envs.close()
    assert [process.exitcode for process in processes] == [0] * len(processes)
    with pytest.raises(gymnasium.error.ClosedEnvironmentError):
        envs.reset()


def test_vector_interrupted_worlds_are_closed(witness, monkeypatch):
    envs = witness(2, n_workers=2)
    envs.reset(seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(type(envs._pipes[1]), "recv", lambda pipe: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            envs.step(np.zeros((2, 1), np.float32))
    assert envs.closed
    assert not any(process.is_alive() for process in envs._processes)


def test_vector_stuck_worker_is_killed(witness, monkeypatch):
    monkeypatch.setattr(vector, "CLOSE_SECONDS", 0.2)
    envs = witness(1)
    os.kill(envs._processes[0].pid, signal.SIGSTOP)
    envs.close()
    assert envs._processes[0].exitcode == -signal.SIGKILL


def runs(pid):
    """The process is there, and is more than the exit status that nobody has asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see other processes")
@pytest.mark.parametrize("end", ["return", "kill"])
def test_vector_workers_end_with_their_process(end):
    code = (
        "import sys, sim.vector\n"
        f"envs = sim.vector.LaneVectorEnv({PROCEDURAL!r}, 2, n_workers=2)\n"
        "print(*(process.pid for process in envs._processes), flush=True)\n"
        "sys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], cwd=Path(__file__).parents[1], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    assert all(runs(pid) for pid in workers)
    if end == "kill":
        process.kill()
    out, err = process.communicate("\n", timeout=20)
    assert (out, err) == ("", "")
    deadline_s = time.monotonic() + 10.0
    while any(runs(pid) for pid in workers) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not any(runs(pid) for pid in workers)


def test_vector_script_without_a_guard_is_told_what_to_do(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import sim.vector\nsim.vector.LaneVectorEnv({PROCEDURAL!r}, 1)\n")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60,
        check=False, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 1
    assert "if __name__ == '__main__':" in done.stderr.splitlines()[-1]
