"""The benchmark: one protocol, a file that is checked, a table."""

import contextlib
import dataclasses
import json
from pathlib import Path

import pytest

from driving.cli import main
from driving.commands import benchmarking
from driving.harness import benchmark
from driving.harness.benchmark import PARTS, RESULT_NAME, failed_share, markdown, read_result, run_benchmark
from driving.harness.store import EpisodeStore
from driving.models import checkpoint
from driving.models.policy import PolicyConfig, build_policy
from driving.noise import KINDS
from sim.errors import BadInputError

SHORT = tuple(dataclasses.replace(part, seeds=range(2, 4), seconds=0.4) for part in PARTS[:4])


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    drivers = {f"net@{seed}": build_policy(PolicyConfig("ltc"), seed).eval() for seed in (0, 1)}
    with contextlib.closing(EpisodeStore(tmp_path_factory.mktemp("benchmark"))) as store:
        found = run_benchmark("nets", drivers, store, parts=SHORT)
        driven = store.keys()
        again = run_benchmark("nets", drivers, store, on_row=lambda key, row: pytest.fail("driven twice"), parts=SHORT)
    assert again == found
    assert len(driven) == len(SHORT) * 2 * 2
    return found


def test_benchmark_protocol_keeps_to_test_roads_and_one_noise_of_each_group():
    assert all(set(part.seeds) <= set(range(3000)) for part in PARTS)
    assert len({part.name for part in PARTS}) == len(PARTS)
    groups = [KINDS[part.noise.partition(":")[0]].group for part in PARTS if part.noise]
    assert len(set(groups)) == len(groups)


def test_benchmark_result_is_read_as_it_was_written(result, tmp_path):
    path = tmp_path / RESULT_NAME
    path.write_text(json.dumps(result))
    assert read_result(path, SHORT) == result
    assert [row["n_trainings"] for row in result["parts"]] == [2] * len(SHORT)
    assert all(row["n_drives"] == 4 and row["n_errors"] == 0 for row in result["parts"])
    assert list(result["digests"]) == ["net@0", "net@1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmark": 99}, "expected benchmark 1, got 99"),
        ({"benchmark": "1"}, "benchmark: expected a int"),
        ({"name": 3}, "name: expected a str"),
        ({"more": 1}, "expected the keys"),
        ({"parts": []}, "expected the parts road"),
        ({"parts": ["road"]}, "expected the keys part"),
    ],
)
def test_benchmark_result_of_another_form_is_one_line(result, tmp_path, change, message):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(result | change))
    with pytest.raises(BadInputError, match=message):
        read_result(path, SHORT)


@pytest.mark.parametrize("value", ["much", float("nan"), True])
def test_benchmark_figure_that_is_no_number_is_one_line(result, tmp_path, value):
    path = tmp_path / "other.json"
    first, *rest = result["parts"]
    path.write_text(json.dumps(result | {"parts": [first | {"km": value}, *rest]}))
    with pytest.raises(BadInputError, match="km: expected a float"):
        read_result(path, SHORT)


def test_benchmark_table_has_a_row_a_result_the_best_first(result):
    def with_share(name, share):
        return result | {"name": name, "parts": [row | {"failed_share": share} for row in result["parts"]]}

    assert failed_share(with_share("a", 0.25)) == 0.25
    lines = markdown([with_share("worse", 0.5), with_share("better", 0.25)], SHORT).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["better", "worse"]
    assert len({line.count("|") for line in lines}) == 1
    assert "| 25 % |" in lines[2]


@pytest.mark.parametrize(
    ("n_drives", "n_errors", "share", "expected"), [(20, 0, 0.25, 0.25), (15, 5, 0.2, 0.4), (0, 20, None, 1.0)]
)
def test_benchmark_drive_that_ends_in_an_error_has_failed(n_drives, n_errors, share, expected):
    found = {"n_drives": n_drives, "n_errors": n_errors, "failed_share": share}
    assert benchmark._with_errors(found) == expected


def test_benchmark_of_several_kinds_is_refused(tmp_path):
    policy = build_policy(PolicyConfig("ltc"), 0)
    with contextlib.closing(EpisodeStore(tmp_path)) as store, pytest.raises(BadInputError, match="one kind of network"):
        run_benchmark("x", {"a@0": policy, "b@0": policy}, store, parts=SHORT)


def test_benchmark_command_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    policy = tmp_path / "mine"
    checkpoint.save(build_policy(PolicyConfig("ltc"), 0), policy)
    monkeypatch.setattr(benchmarking, "PARTS", SHORT)
    words = ["benchmark", "--policy", str(policy), "--out", str(tmp_path / "b"), "--name", "my own", "--workers", "1"]
    assert main(words) == 0
    assert "fair roads" in capsys.readouterr().out
    assert main(["benchmark", "--table", str(tmp_path / "b" / RESULT_NAME)]) == 0
    assert "| my own | 1 |" in capsys.readouterr().out
    assert main(["benchmark", "--policy", str(policy)]) == 2
    assert "expected --policy and --out" in capsys.readouterr().err


def test_benchmark_table_of_the_project_is_that_of_its_files():
    """Rows are added by a file in checkpoints/benchmark and the table that the command prints."""
    folder = Path(__file__).parents[1] / "checkpoints"
    results = [read_result(path) for path in sorted((folder / "benchmark").glob("*.json"))]
    assert markdown(results) in (folder / "README.md").read_text(encoding="utf-8")
