"""The page of a sweep: what it says is what the rows say."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from driving.harness.figures import Drives, all_figures
from driving.report.stress import findings, stress_page
from tests.test_stress import rows_of

EMPTY = {"meta", "img", "br", "path", "circle", "polyline", "polygon", "rect"}


class Balanced(HTMLParser):
    """Every tag that opens closes."""

    def __init__(self):
        super().__init__()
        self.open, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Open and closed in one."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def figures():
    """Of ten roads the LSTM fails on all in fog, the LTC on as many as the fog is strong."""
    crashes = {}
    for seed in range(2):
        for severity, n in ((1.0, 1), (3.0, 2), (5.0, 3)):
            crashes[f"ltc19@{seed}", "fog", severity] = [int(k < n) for k in range(10)]
        crashes[f"ltc19@{seed}", "none", 0.0] = [0] * 10
    crashes |= {("lstm64", "fog", severity): [1] * 10 for severity in (1.0, 3.0, 5.0)}
    crashes["lstm64", "none", 0.0] = [0] * 9 + [1]
    return {**all_figures(Drives(rows_of(crashes)), "lstm64"), "command": "liquid-lane stress <here> & there"}


def read(text):
    parser = Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return " ".join(" ".join(parser.texts).split())


def test_stress_page_stands_alone_and_shows_every_condition(figures):
    pictures = {"fog:3": np.full((20, 50, 3), 99, np.uint8), "none:0": np.zeros((20, 50, 3), np.uint8)}
    text = stress_page(figures, pictures)
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    words = read(text)
    for expected in (
        "Clean picture",
        "Fog, severity 1",
        "Fog, severity 5",
        "lstm64",
        "ltc19",
        "<here> & there",
        "torch",
    ):
        assert expected in words
    assert text.count("data:image/jpeg;base64,") == 2
    assert text.count('role="img"') == 1 + 4  # one kind of noise, four conditions in which somebody failed
    assert "--heat:1.000" in text


def test_stress_page_findings_are_those_of_the_rows(figures):
    lines = findings(figures)
    assert lines[0].startswith("Without noise ltc19 left its lane in 0 of 20 drives, 0.00 (0.00 to ")
    assert lines[1].startswith("Without noise lstm64 left its lane in 1 of 10 drives")
    assert "Under 3 noises ltc19 had fewer crashes a km than lstm64 in 3, more in 0; 0 cannot be told" in lines[2]
    assert "Fog, severity 1 (fewer)" in lines[3]
    assert lines[-1] == "Averaged over noises, ltc19 failed 20 % as often as lstm64."


def test_stress_page_tells_what_is_disturbed():
    crashes = {(policy, noise, 1.0): [int(k < n) for k in range(10)]
               for policy, n in (("ltc19", 1), ("lstm64", 9)) for noise in ("fog", "dropped")}  # fmt: skip
    figures = all_figures(Drives(rows_of(crashes)), "lstm64") | {"command": ""}
    words = read(stress_page(figures))
    assert "weather ltc19 fewer 0.0" in words
    assert "time ltc19 fewer 0.0" in words
    assert "all lstm64 – –" in words
    assert "All of them together: 0.0" in "".join(findings(figures))


def test_stress_page_of_one_network_and_of_nothing_driven():
    one = all_figures(Drives(rows_of({("<ltc>", "none", 0.0): [0, 1]})), "<ltc>") | {"command": ""}
    words = read(stress_page(one))
    assert "<ltc> under noise" in words
    assert "There is one network only." in words
    assert "No noise was driven at two severities." in words
    rows = {key: row.__class__(0, 0.0, 0.0, 0.0, None, None, None, None, "{}", "broke")
            for key, row in rows_of({("a", "none", 0.0): [0], ("b", "none", 0.0): [0]}).items()}  # fmt: skip
    broken = all_figures(Drives(rows), "b") | {"command": ""}
    assert "Without noise a left its lane in 0 of 0 drives, – (– to –) times a km." in read(stress_page(broken))


def test_stress_page_tells_of_recovery_and_of_single_trainings(figures):
    figures["table"][0]["recovery_s"] = 0.731
    text = read(stress_page(figures))
    assert f"took a while to recover: that of {figures['table'][0]['network']} 0.73 s on average" in text
    assert "There is one training of lstm64: the verdicts are about networks, not their kinds." in text
