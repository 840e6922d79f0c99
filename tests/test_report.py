import copy
import math
import re
from html.parser import HTMLParser

import pytest

from driving.report import finding, write_report
from sim.errors import BadInputError

VOID = {"meta", "path", "rect", "circle", "br"}


def _episode(seed, crashed, distance_m):
    return {"seed": seed, "crashed": crashed, "distance_m": distance_m, "mean_abs_offset_m": seed / 10000}


def _entry(policy, title, noise, crashes, km):
    return {
        "policy": policy,
        "title": title,
        "noise": noise,
        "episodes": [_episode(1001, crashes > 0, 331.0), _episode(1002, False, 442.0)],
        "crashes": crashes,
        "km": km,
        "crashes_per_km": crashes / km,
        "mean_abs_lateral_offset_m": 0.0123 * (1 + crashes),
        "frames_per_s": 800.0 + crashes,
    }


def _figures():
    return {
        "command": "liquid-lane demo --out here",
        "seeds": [1001, 1002],
        "seconds": 17.5,
        "lane_half_width_m": 1.8,
        "drive": [
            _entry("ltc19", "Liquid", "none", 0, 2.25),
            _entry("lstm64", "Recurrent", "none", 0, 2.75),
            _entry("ltc19", "Liquid", "gaussian:0.1", 3, 2.0),
            _entry("lstm64", "Recurrent", "gaussian:0.1", 4, 1.6),
        ],
        "attention": {
            "method": "visual_backprop",
            "road_area_share": 0.412,
            "policies": {
                "ltc19": {
                    "on_road_share": 0.213,
                    "untrained_on_road_share": 0.351,
                    "ssim_clean_noisy": 0.617,
                    "n_frames": 240,
                },
                "lstm64": {
                    "on_road_share": 0.284,
                    "untrained_on_road_share": None,
                    "ssim_clean_noisy": math.nan,
                    "n_frames": 239,
                },
            },
        },
        "traces": [
            {"policy": policy, "noise": noise, "seed": 1001, "time_s": [0.0, 5.0, 10.0], "lateral_offset_m": offsets}
            for policy, noise, offsets in (
                ("ltc19", "none", [0.0, 0.9, -0.9]),
                ("lstm64", "gaussian:0.1", [0.0, math.nan, 9.0]),
            )
        ],
    }


class _Page(HTMLParser):
    """Collects words, links and tags, and fails on tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.words, self.tags = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "poster")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def _page(tmp_path, figures):
    path = write_report(tmp_path, figures)
    assert path == tmp_path / "report.html"
    text = path.read_text(encoding="utf-8")
    return text, _Page(text)


def test_report_contains_every_figure(tmp_path):
    _, page = _page(tmp_path, _figures())
    cells = [word.strip() for word in page.words]
    expected = ["2.25", "2.75", "2.00", "1.60", "1.50", "2.50", "0.012", "0.049", "0.061", "800", "803", "804"]
    expected += ["3", "4", "331", "442", "0.100", "Liquid", "Recurrent", "Clean picture", "Gaussian noise 0.1"]
    expected += ["41.2%", "21.3%", "35.1%", "28.4%", "0.617", "240", "239", "liquid-lane demo --out here", "yes", "no"]
    assert set(expected) <= set(cells)
    assert cells.count("–") == 2  # the two attention figures that are not known
    words = " ".join(" ".join(cells).split())
    assert "Roads (seeds): 1001 to 1002. At most 17.5 s an episode." in words
    assert "visual_backprop" in words


def test_report_stands_alone_but_for_the_video_beside_it(tmp_path):
    text, page = _page(tmp_path, _figures())
    assert page.links == ["comparison.mp4"]
    assert not re.search(r"https?:|//\w|@import|url\(", text)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_report_escapes_text(tmp_path):
    figures = copy.deepcopy(_figures())
    evil = '<script>alert("1 & 2")</script>'
    figures["command"] = figures["attention"]["method"] = evil
    for entry in figures["drive"]:
        entry["title"] = evil
    figures["drive"][2]["noise"] = figures["traces"][0]["noise"] = f"{evil}:1"
    figures["attention"]["policies"][evil] = figures["attention"]["policies"]["ltc19"]
    text, page = _page(tmp_path, figures)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script" not in text.lower()
    assert evil in page.words  # shown as it was given


def test_report_plot_draws_offsets_in_place(tmp_path):
    _, page = _page(tmp_path, _figures())
    lines = [attributes for tag, attributes in page.tags if tag == "polyline"]
    lanes = [attributes for tag, attributes in page.tags if tag == "rect"]
    ends = [attributes for tag, attributes in page.tags if tag == "circle"]
    assert [line["class"] for line in lines] == ["p0", "p1"]
    first = [tuple(map(float, point.split(","))) for point in lines[0]["points"].split()]
    top, height = float(lanes[0]["y"]), float(lanes[0]["height"])
    # 0, half the half width to the left (up), and as much to the right, at the start, the middle and the end.
    assert [y for _, y in first] == pytest.approx([top + height / 2, top + height / 4, top + height * 3 / 4], abs=0.2)
    assert first[1][0] == pytest.approx((first[0][0] + first[2][0]) / 2, abs=0.1)
    # The noisy episode has a step that is not known, ends beyond the plot's edge, and in a crash.
    second = [tuple(map(float, point.split(","))) for point in lines[1]["points"].split()]
    assert len(second) == 2
    assert second[1] == (first[2][0], 12.0)
    assert [(float(end["cx"]), float(end["cy"])) for end in ends] == [second[1]]


def test_report_of_long_traces_stays_small(tmp_path):
    figures = _figures()
    n = 5003
    figures["traces"][0] |= {
        "time_s": [i / 20 for i in range(n)],
        "lateral_offset_m": [0.5 * (i % 2) for i in range(n)],
    }
    _, page = _page(tmp_path, figures)
    points = next(attributes for tag, attributes in page.tags if tag == "polyline")["points"].split()
    assert 380 <= len(points) <= 402
    assert points[-1].startswith("626.0,")


def test_report_without_traces_or_kilometres_is_still_a_page(tmp_path):
    figures = _figures() | {"traces": []}
    figures["drive"] = [figures["drive"][0] | {"km": 0.0, "crashes_per_km": None, "episodes": []}]
    _, page = _page(tmp_path, figures)
    assert "svg" not in {tag for tag, _ in page.tags}
    assert "no crash, Liquid over 0.0 km" in finding(figures)


def test_report_finding_tells_the_networks_apart_only_beyond_chance():
    figures = _figures()
    assert "Clean picture: no crash, Liquid over 2.2 km and Recurrent over 2.8 km." in finding(figures)
    assert (
        "Recurrent left the lane 2.5 times a km; with 7 crashes in all, a gap of this size may be chance."
        in finding(figures)
    )
    figures["drive"][2:] = [_entry("ltc19", "Liquid", "fog:1", 2, 2.0), _entry("lstm64", "Recurrent", "fog:1", 20, 2.0)]
    assert "Fog, severity 1: Liquid left the lane 1.0 times a km" in finding(figures)
    assert finding(figures).endswith("on these roads Liquid was the steadier, by more than chance.")


@pytest.mark.parametrize(
    ("crashes", "by_hand"),
    # All of n on one side of two equal halves: 2 / 2^n, so five are too few and six are enough.
    [((0, 5), False), ((0, 6), True), ((6, 0), True), ((3, 3), False)],
)
def test_report_finding_uses_the_exact_binomial_test(crashes, by_hand):
    figures = _figures()
    titles = ("Liquid", "Recurrent")
    figures["drive"] = [_entry(t.lower(), t, "fog:1", c, 1.5) for t, c in zip(titles, crashes, strict=True)]
    assert ("by more than chance" in finding(figures)) is by_hand


def test_report_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    (tmp_path / "report.html").write_text("old")
    text, _ = _page(tmp_path, _figures())
    assert text.startswith("<!DOCTYPE html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_report_folder_that_cannot_be_written_is_rejected(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInputError, match=r"^[^\n]*report.html: cannot be written [^\n]*$"):
        write_report(tmp_path / "file", _figures())


def test_report_target_that_is_a_folder_is_rejected(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(BadInputError, match="report"):
        write_report(tmp_path, _figures())
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
