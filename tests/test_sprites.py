"""The painted pictures: their format, their variety, and the views of solid things."""

import itertools

import numpy as np
import pytest

from sim.errors import BadInputError
from sim.roadside.sprites import KINDS, MIP_RATIO, N_VIEWS, SPRITES, indices, sprite
from sim.seasons import SEASONS


def some_pictures(kind: str) -> list[int]:
    """Two variants in two seasons, and three sides of what has sides."""
    views = (0, 3, N_VIEWS // 2) if KINDS[kind].lengths_m else (0,)
    return [i + view for season in ("summer", "winter") for i in indices(kind, season)[1:3] for view in views]


@pytest.mark.parametrize("kind", KINDS)
def test_sprites_are_premultiplied_pictures_with_soft_edges_and_ever_smaller_copies(kind):
    for index in some_pictures(kind):
        mips = sprite(index).mips
        assert SPRITES[index].name == kind
        first = mips[0].astype(int)
        assert mips[0].dtype == np.uint8
        assert first.shape[2] == 4
        assert (first[..., :3] <= first[..., 3:] + 2).all()
        alpha = first[..., 3]
        assert (alpha > 250).mean() > 0.015
        # Seen a few pixels high nothing has hard edges; walls without gaps have none at all.
        small = next(mip for mip in mips if mip.shape[0] <= 20)
        assert ((small[..., 3] > 20) & (small[..., 3] < 235)).any() or (alpha == 255).all() or kind == "town_front"
        for larger, smaller in itertools.pairwise(mips):
            ratios = np.array(larger.shape[:2]) / smaller.shape[:2]
            assert (np.abs(np.array(smaller.shape[:2]) * MIP_RATIO - larger.shape[:2]) < 1.3).all(), ratios
            assert abs(int(smaller[..., 3].mean()) - int(larger[..., 3].mean())) < 8
        assert min(mips[-1].shape[:2]) <= 2 or max(mips[-1].shape[:2]) <= 6


def test_sprites_are_the_same_whenever_they_are_painted():
    chosen = [indices(kind, "autumn")[0] for kind in ("leafy", "car", "house", "town_front", "rock", "tree_row")]
    before = [sprite.__wrapped__(index).mips[0] for index in chosen]
    for index, picture in zip(chosen, before, strict=True):
        np.testing.assert_array_equal(sprite.__wrapped__(index).mips[0], picture)


@pytest.mark.parametrize("kind", KINDS)
def test_sprites_of_a_kind_differ_between_variants_and_seasons(kind):
    chosen = indices(kind, "summer")
    assert len(chosen) >= 4
    assert len(set(chosen)) == len(chosen)
    pictures = [sprite(index).mips[0] for index in chosen[:4]]
    for i in range(3):
        a, b = pictures[i], pictures[i + 1]
        assert a.shape != b.shape or np.abs(a.astype(int) - b).mean() > 0.5
    own = {indices(kind, season) for season in SEASONS}
    assert len(own) == (4 if KINDS[kind].seasonal else 1)


def test_sprites_of_leafy_trees_are_bare_in_winter():
    cover = {
        season: np.mean([(sprite(index).mips[0][..., 3] > 127).mean() for index in indices("leafy", season)])
        for season in ("summer", "winter")
    }
    assert cover["winter"] < 0.7 * cover["summer"]


def test_sprites_of_leafy_trees_are_green_in_summer_and_not_in_autumn():
    greener = []
    for season in ("summer", "autumn"):
        rgb = np.mean([sprite(i).mips[0].reshape(-1, 4).sum(axis=0) for i in indices("leafy", season)], axis=0)
        greener.append(rgb[1] / rgb[0])
    assert greener[0] > 1.05 > greener[1]


@pytest.mark.parametrize("kind", ["car", "house", "barn"])
@pytest.mark.parametrize("view", [0, 5, 12, 29])
def test_sprites_of_solid_things_are_as_wide_as_they_are_seen_from_that_side(kind, view):
    known = KINDS[kind]
    variant = 2
    (width_m, height_m), length_m = known.sizes_m[variant], known.lengths_m[variant]
    yaw = 2 * np.pi * view / N_VIEWS
    seen_m = width_m * abs(np.cos(yaw)) + length_m * abs(np.sin(yaw)) + 2 * known.margin_m
    tall_m = height_m * (1 + known.above + known.below)
    rows, columns = sprite(indices(kind, "summer")[variant] + view).mips[0].shape[:2]
    assert columns / rows == pytest.approx(seen_m / tall_m, rel=0.03)


def test_sprites_of_cars_shine_white_in_front_and_red_behind():
    for index in indices("car", "summer"):
        front, rear = sprite(index + N_VIEWS // 2).lamps, sprite(index).lamps
        assert len(front) == len(rear) == 2
        assert all(min(lamp.colour) > 150 for lamp in front)
        assert all(lamp.colour[0] > 3 * lamp.colour[1] for lamp in rear)
        assert front[0].x + front[1].x == pytest.approx(1.0, abs=0.02)  # one on each side
        # The lamps are where they are painted.
        picture = sprite(index + N_VIEWS // 2).mips[0]
        rows, columns = picture.shape[:2]
        assert picture[int(front[0].y * rows), int(front[0].x * columns), :3].min() > 180


def test_sprites_of_cars_have_a_shadow_that_is_never_solid():
    for index in indices("car", "summer"):
        picture = sprite(index).mips[0]
        kind = KINDS["car"]
        ground = round(picture.shape[0] * (1 + kind.above) / (1 + kind.above + kind.below)) + 3
        shadow = picture[ground:]
        assert shadow[..., 3].max() > 60
        middle = picture.shape[1] // 2
        assert (shadow[:, middle, 3] < 128).all()
        assert (shadow[:, middle, :3] == 0).all()


@pytest.mark.parametrize(("kind", "season"), [("dragon", "summer"), ("leafy", "monsoon")])
def test_sprites_of_unknown_names_are_refused(kind, season):
    with pytest.raises(BadInputError, match="expected a kind"):
        indices(kind, season)
