"""What shows itself in a notebook, and what objects say of themselves in one line."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from driving.notebook import AttentionMap, Circuit, Clip
from sim.episodes import EpisodeLog
from sim.errors import BadInputError


def picture_of(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_notebook_map_is_bright_where_it_looks():
    attention = np.zeros((78, 200))
    attention[20:30, 100:120] = 1.0
    shown = picture_of(AttentionMap(np.full((78, 200, 3), 90, np.uint8), attention)._repr_png_())
    assert shown.shape == (234, 600, 3)
    assert shown[70:80, 310:340].mean() > 2 * shown[150:, :200].mean()


def test_notebook_circuit_shows_itself_where_there_is_one(small_policy):
    assert picture_of(Circuit(small_policy("ltc"))._repr_png_()).shape[0] > 100
    with pytest.raises(BadInputError):
        Circuit(small_policy("lstm"))._repr_png_()


def test_notebook_clip_holds_its_video():
    clip = Clip([np.full((15, 31, 3), k, np.uint8) for k in range(5)], fps=10)
    html = clip._repr_html_()
    assert re.match(r'<video controls loop muted width="92" src="data:video/mp4;base64,[A-Za-z0-9+/=]{500,}">', html)
    assert repr(clip) == "Clip(5 frames of 15 x 31, 0.5 s)"


def test_reprs_are_one_line(small_policy, make_drive):
    log = EpisodeLog(3, True, 12.3, [0.1] * 500, [0.0] * 500, [0.0] * 500, [0.05] * 500)
    for one in (small_policy("ltc"), make_drive(30, known_masks=[1]), log, Circuit(small_policy("ltc"))):
        assert "\n" not in repr(one)
        assert len(repr(one)) < 120
    assert repr(log) == "EpisodeLog(seed 3, 0.1 s, 12 m, crashed)"
    assert "1 road masks" in repr(make_drive(30, known_masks=[1]))
    assert "Policy(ltc, encoder shared, 16 x 41, " in repr(small_policy("ltc"))
