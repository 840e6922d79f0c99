"""The sweep: every episode a row, whatever stops it; nothing twice, nothing mixed."""

import csv
import dataclasses
import json
import sqlite3

import pytest

from driving.harness.figures import Drives, all_figures, condition_of, kind_of
from driving.harness.store import COLUMNS, CSV_NAME, STORE_NAME, EpisodeStore, Key, Row
from driving.harness.sweep import Sweep, _groups, driver_digest, program_digest, run_sweep
from driving.models.policy import PolicyConfig, build_policy
from driving.noise import Noise, parse_noises
from sim.errors import BadInputError
from tests.benchmarks.kills import killed_sweep

KEY = Key("ltc19", "d1", "p1", "lane/Procedural-v0", "{}", "gaussian", 0.1, 3, 20.0)
ROW = Row(1, 12.5, 1.25, 0.31, 0.5, 1.0, 0.01, None, '{"family": "urban"}')
OPTIONS = {"roadside": False, "family": "urban", "hills": False}


@pytest.fixture(scope="module")
def networks():
    return {
        "ltc@0": build_policy(PolicyConfig("ltc"), 0).eval(),
        "lstm@0": build_policy(PolicyConfig("lstm"), 0).eval(),
    }


def sweep_of(networks, noises=("none", "gaussian:0.2"), seeds=range(8, 12), seconds=0.4):
    return Sweep(networks, "lane/Procedural-v0", parse_noises(list(noises)), seeds, seconds, OPTIONS)


def csv_rows(folder):
    with (folder / CSV_NAME).open() as file:
        return list(csv.DictReader(file))


# Store -------------------------------------------------------------------------------------------------------


def test_store_keeps_rows_by_key_once(tmp_path):
    store = EpisodeStore(tmp_path / "new" / "sweep")
    other = dataclasses.replace(KEY, seed=4)
    store.add([(KEY, ROW)])
    store.add([(KEY, dataclasses.replace(ROW, crashed=0)), (other, dataclasses.replace(ROW, error="broke"))])
    assert store.keys() == {KEY, other}
    assert store.rows([other, KEY]) == {other: dataclasses.replace(ROW, error="broke"), KEY: ROW}
    assert list(store.rows([other, KEY])) == [other, KEY]
    store.write_csv([KEY, dataclasses.replace(KEY, digest="another")])
    store.close()
    (row,) = csv_rows(tmp_path / "new" / "sweep")
    assert tuple(row) == COLUMNS
    assert (row["policy"], row["severity"], row["crashed"], row["error"]) == ("ltc19", "0.1", "1", "")
    again = EpisodeStore(tmp_path / "new" / "sweep")
    assert again.keys() == {KEY, other}
    again.close()


def test_store_of_another_version_or_another_program_is_refused(tmp_path):
    EpisodeStore(tmp_path).close()
    with sqlite3.connect(tmp_path / STORE_NAME) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(BadInputError, match="expected version 2 of a store, got 9"):
        EpisodeStore(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / STORE_NAME).write_bytes(b"no database at all, and longer than a header of one hundred bytes " * 4)
    with pytest.raises(BadInputError, match="expected a store of episodes"):
        EpisodeStore(tmp_path / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="expected a store of episodes"):
        EpisodeStore(tmp_path / "file")


def test_store_that_cannot_be_written_says_so_and_keeps_what_it_has(tmp_path):
    store = EpisodeStore(tmp_path)
    store.add([(KEY, ROW)])
    store._db.execute("PRAGMA max_page_count = 1")  # a full disk, to SQLite
    many = [(dataclasses.replace(KEY, seed=s), dataclasses.replace(ROW, setting="x" * 5000)) for s in range(100, 120)]
    with pytest.raises(BadInputError, match=r"cannot be written.*go on with the same command"):
        store.add(many)
    assert store.keys() == {KEY}
    store.close()


# Sweep -------------------------------------------------------------------------------------------------------


def test_sweep_rows_do_not_depend_on_workers_and_are_driven_once(networks, tmp_path):
    sweep, texts = sweep_of(networks), []
    for n_workers in (1, 2):
        store, seen = EpisodeStore(tmp_path / str(n_workers)), []
        run_sweep(sweep, store, n_workers, lambda key, row, seen=seen: seen.append(key))
        assert sorted(seen) == sorted(sweep.keys())
        run_sweep(sweep, store, n_workers, lambda key, row: pytest.fail("driven twice"))
        store.write_csv(sweep.keys())
        texts.append((tmp_path / str(n_workers) / CSV_NAME).read_bytes())
        store.close()
    assert texts[0] == texts[1]
    rows = csv_rows(tmp_path / "1")
    assert len(rows) == 2 * 2 * 4
    assert [row["noise"] for row in rows[:9]] == ["none"] * 8 + ["gaussian"]
    by_road = {(row["policy"], row["noise"]): row for row in rows if row["seed"] == "9"}
    assert len({row["setting"] for row in by_road.values()}) == 1  # all see the same road
    assert by_road["ltc@0", "none"]["mean_abs_offset_m"] != by_road["lstm@0", "none"]["mean_abs_offset_m"]
    assert float(rows[0]["rms_lateral_acceleration_mps2"]) > 0


def test_sweep_that_grows_drives_only_what_is_new(networks, tmp_path):
    store, driven = EpisodeStore(tmp_path), []
    run_sweep(sweep_of(networks, ["none"], range(8, 10)), store)
    run_sweep(sweep_of(networks), store, on_row=lambda key, row: driven.append((key.noise, key.seed)))
    assert sorted(set(driven)) == sorted({("none", 10), ("none", 11), *(("gaussian", s) for s in range(8, 12))})
    store.close()


def test_sweep_never_mixes_what_another_policy_or_program_drove(networks, tmp_path, monkeypatch):
    store = EpisodeStore(tmp_path)
    sweep = sweep_of({"ltc@0": networks["ltc@0"]}, ["none"])
    run_sweep(sweep, store)
    changed = build_policy(PolicyConfig("ltc"), 5).eval()
    other = sweep_of({"ltc@0": changed}, ["none"])
    assert driver_digest(changed) != driver_digest(networks["ltc@0"])
    assert not set(other.keys()) & store.keys()
    run_sweep(other, store)
    store.write_csv(other.keys())
    assert {row["digest"] for row in csv_rows(tmp_path)} == {driver_digest(changed)}
    monkeypatch.setattr("driving.harness.sweep.program_digest", lambda: "another")
    assert not set(sweep.keys()) & store.keys()
    assert len(program_digest()) == 16
    store.close()


def test_sweep_groups_are_those_of_tens_however_far_it_goes():
    keys = [dataclasses.replace(KEY, seed=seed) for seed in range(7, 23)]
    assert [[key.seed for key in group] for group in _groups(keys, 10)] == [
        [7, 8, 9], [*range(10, 20)], [20, 21, 22],
    ]  # fmt: skip
    assert len(_groups(keys, 1)) == 16


def test_sweep_failing_episode_is_a_row_with_its_reason(networks, tmp_path, monkeypatch):
    from sim.procedural_env import ProceduralEnv

    see = ProceduralEnv._see

    def broken(self):
        if self._episode_seed == 9 and self._time_s > 0.1:
            raise RuntimeError("the road\nended")
        return see(self)

    monkeypatch.setattr(ProceduralEnv, "_see", broken)
    sweep = sweep_of({"ltc@0": networks["ltc@0"]}, ["none"])
    store = EpisodeStore(tmp_path)
    run_sweep(sweep, store)
    rows = {key.seed: row for key, row in store.rows(sweep.keys()).items()}
    assert rows[9].error == "RuntimeError: the road"
    assert [rows[seed].error for seed in (8, 10, 11)] == [None] * 3
    assert rows[8].driven_s == pytest.approx(0.4)
    figures = all_figures(Drives(store.rows(sweep.keys())), "ltc")
    assert (figures["table"][0]["n_drives"], figures["table"][0]["n_errors"]) == (3, 1)
    store.close()


def test_sweep_world_that_cannot_be_made_ends_it_before_it_begins(networks, tmp_path, small_policy):
    store = EpisodeStore(tmp_path)
    sweep = sweep_of(networks)
    with pytest.raises(BadInputError, match="unknown environment option"):
        run_sweep(dataclasses.replace(sweep, env_options={"rodside": False}), store)
    with pytest.raises(BadInputError, match="expects frames"):
        run_sweep(dataclasses.replace(sweep, policies={"small": small_policy()}), store)
    assert store.keys() == set()
    store.close()


@pytest.mark.slow
def test_sweep_killed_at_random_moments_ends_in_the_same_rows(saved_policies, tmp_path):
    n_rows, is_same = killed_sweep([str(saved_policies[core]) for core in ("ltc", "lstm")], 24, 5, tmp_path)
    assert n_rows == sorted(n_rows)
    assert n_rows[0] > 0
    assert is_same


# Figures -----------------------------------------------------------------------------------------------------


def rows_of(crashes):
    """``crashes``: by policy, noise and severity, which of four roads end in a crash after 0.1 km of 0.5."""
    rows = {}
    for (policy, noise, severity), crashed in crashes.items():
        for seed, is_crash in enumerate(crashed):
            key = dataclasses.replace(KEY, policy=policy, noise=noise, severity=severity, seed=seed)
            rows[key] = dataclasses.replace(ROW, crashed=is_crash, distance_m=100.0 if is_crash else 500.0)
    return rows


def test_figures_put_trainings_of_a_kind_together():
    crashes = {("ltc19@0", "none", 0.0): [0, 0, 0, 0], ("ltc19@1", "none", 0.0): [1, 0, 0, 0],
               ("lstm64", "none", 0.0): [0, 0, 0, 0]}  # fmt: skip
    drives = Drives(rows_of(crashes))
    assert drives.kinds() == {"ltc19": ["ltc19@0", "ltc19@1"], "lstm64": ["lstm64"]}
    ltc, lstm = all_figures(drives, "lstm64")["table"]
    assert (ltc["network"], ltc["n_trainings"], ltc["n_drives"], ltc["crashes"]) == ("ltc19", 2, 8, 1)
    assert ltc["km"] == pytest.approx(7 * 0.5 + 0.1)
    assert ltc["crashes_per_km"] == pytest.approx(1 / 3.6, abs=1e-4)
    assert lstm["crashes_per_km"] == 0
    assert lstm["crashes_per_km_high"] > 1


def test_figures_are_strict_json_and_say_what_cannot_be_told():
    crashes = {(policy, noise, severity): [int(k < n) for k in range(4)]
               for policy, n in (("ltc19", 1), ("lstm64", 3))
               for noise, severity in (("none", 0.0), ("fog", 1.0), ("fog", 3.0))}  # fmt: skip
    figures = all_figures(Drives(rows_of(crashes)), "lstm64")
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert {row["noise"] for row in figures["comparisons"]} == {"none:0", "fog:1", "fog:3"}
    assert figures["mean_corruption_error"] == {"ltc19": pytest.approx(100 / 3, abs=1e-4), "lstm64": 100.0}
    (ltc, lstm) = figures["half_fail"]
    assert (ltc["half_fail"], lstm["half_fail"]) == (None, 0.0)
    curve = figures["survival"][0]
    assert curve["km"][0] == 0.0
    assert curve["share"][-1] == pytest.approx(0.75)


def test_figures_add_up_the_noises_of_a_group():
    crashes = {}
    for i in range(4):
        crashes |= {(f"ltc19@{i}", noise, 1.0): [0, 0, 0, 1] for noise in ("none", "fog", "snow", "dropped")}
        crashes |= {(f"lstm64@{i}", noise, 1.0): [1, 1, 0, 1] for noise in ("none", "fog", "snow", "dropped")}
    drives = Drives(rows_of(crashes))
    assert drives.groups() == {
        "weather": ["fog:1", "snow:1"], "time": ["dropped:1"], "all": ["fog:1", "snow:1", "dropped:1"],
    }  # fmt: skip
    rows = {(row["group"], row["network"]): row for row in all_figures(drives, "lstm64")["by_group"]}
    assert len(rows) == 6
    ltc, lstm = rows["weather", "ltc19"], rows["weather", "lstm64"]
    assert (ltc["n_noises"], ltc["n_drives"], ltc["crashes"], ltc["failed_share"]) == (2, 32, 8, 0.25)
    assert ltc["crashes_per_km"] == pytest.approx(8 / (24 * 0.5 + 8 * 0.1), abs=1e-4)
    assert lstm["crashes_per_km"] == pytest.approx(24 / (8 * 0.5 + 24 * 0.1), abs=1e-4)
    assert ltc["ratio"] == pytest.approx(ltc["crashes_per_km"] / lstm["crashes_per_km"], abs=1e-3)
    assert ltc["verdict"] == "cannot be told"  # they differ on two roads
    assert "verdict" not in lstm
    assert rows["all", "ltc19"]["crashes"] == 12


def test_figures_add_up_the_levels_of_all_noises():
    severities = (("fog", 1.0), ("fog", 5.0), ("snow", 1.0), ("snow", 4.0), ("gaussian", 0.3), ("none", 0.0))
    drives = Drives(rows_of({("ltc19", noise, severity): [0, 1] for noise, severity in severities}))
    assert drives.groups() == {
        "weather": ["fog:1", "fog:5", "snow:1", "snow:4"], "sensor": ["gaussian:0.3"],
        "all": ["fog:1", "fog:5", "snow:1", "snow:4", "gaussian:0.3"],
        "all:mild": ["fog:1", "snow:1"], "all:strong": ["fog:5", "gaussian:0.3"],
    }  # fmt: skip


def test_figures_of_a_group_leave_out_what_was_not_driven():
    rows = rows_of({("ltc19", noise, 1.0): [0, 1] for noise in ("fog", "snow")})
    failed = next(key for key in rows if key.noise == "snow" and key.seed == 1)
    rows[failed] = dataclasses.replace(ROW, error="broke", crashed=0, distance_m=0.0)
    (row,) = all_figures(Drives(rows), "ltc19")["by_group"]
    assert (row["n_drives"], row["crashes"], row["km"]) == (3, 1, pytest.approx(1.1))


def test_figures_of_a_single_kind_of_noise_have_no_group():
    rows = rows_of({("ltc19", "fog", severity): [0, 1] for severity in (1.0, 3.0)})
    assert all_figures(Drives(rows), "ltc19")["by_group"] == []


def test_figures_names():
    assert condition_of(KEY) == "gaussian:0.1"
    assert kind_of("ltc19@all") == "ltc19@all"
    assert str(Noise("gaussian", 0.1)) == condition_of(KEY)
