"""The scripts in driving/examples, as their readers run them."""

import pytest

from driving.models import checkpoint


def test_examples_a_circuit_of_ncps_becomes_a_policy(tmp_path, monkeypatch, capsys):
    from driving.examples import liquid_from_ncps

    monkeypatch.setattr("sys.argv", ["x", "--neurons", "15", "--out", str(tmp_path / "p")])
    liquid_from_ncps.main()
    assert "Policy(ltc" in capsys.readouterr().out
    assert checkpoint.load(tmp_path / "p").core.wiring.n_neurons == 15


@pytest.mark.slow
def test_examples_ppo_trains_and_drives(tmp_path, monkeypatch, capsys):
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    from driving.examples import ppo

    monkeypatch.setattr(ppo, "TEST_SEEDS", range(2000, 2001))
    monkeypatch.setattr("sys.argv", ["x", "--steps", "64", "--out", str(tmp_path / "ppo.zip")])
    ppo.main()
    assert "of 1 drives left the lane" in capsys.readouterr().out
    assert (tmp_path / "ppo.zip").is_file()
