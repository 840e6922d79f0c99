"""The vector numbers of compiled code against numpy, slot by slot."""

import numpy as np
import pytest

from driving.models.ltc_fast.simd import SIMD_WIDTH, exp, load, store
from sim.compiled import compiled


@compiled
def exponentials(x, y):
    for i in range(len(x) // SIMD_WIDTH):
        store(y, i, exp(load(x, i)))


@compiled
def mixed(x, y, z):
    for i in range(len(x) // SIMD_WIDTH):
        a, b = load(x, i), load(y, i)
        store(z, i, (2 - a) * b / (a + 1.5) - 0.1 * (b - 3))


def exp_of(x):
    filled = np.resize(x, -(-len(x) // SIMD_WIDTH) * SIMD_WIDTH)
    found = np.empty_like(filled)
    exponentials(filled, found)
    return found[: len(x)]


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 87.0), (np.float64, 708.0)])
def test_simd_exp_is_within_one_unit_in_the_last_place(dtype, limit):
    rng = np.random.default_rng(0)
    x = np.concatenate([
        np.linspace(-limit, limit, 200_001),
        np.arange(-120, 121) * np.log(2) / 2,  # where n jumps
        rng.normal(size=10_000) * 10.0 ** rng.uniform(-20, 0, 10_000),
        [0.0, -0.0],
    ]).astype(dtype)  # fmt: skip
    exact = np.exp(x.astype(np.longdouble))
    if np.finfo(np.longdouble).eps == np.finfo(dtype).eps:
        pytest.skip("no wider number here to compare with")
    unit = np.spacing(exact.astype(dtype)).astype(np.longdouble)
    assert np.max(np.abs(exp_of(x) - exact) / unit) <= 1.0
    assert np.all(exp_of(np.zeros(3, dtype)) == 1.0)


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, 87.0), (np.float64, 708.0)])
def test_simd_exp_is_held_where_it_would_leave_the_normal_numbers(dtype, limit):
    x = np.array([limit, 1.1 * limit, 1e30, np.inf, -limit, -1.1 * limit, -1e30, -np.inf], dtype)
    high, low = exp_of(x)[:4], exp_of(x)[4:]
    assert np.all(high == high[0])
    assert np.all(low == low[0])
    assert np.isfinite(high[0])
    assert low[0] >= np.finfo(dtype).tiny
    with np.errstate(over="raise"):
        assert 1 / (1 + high[0]) < 1e-37  # a closed synapse


def test_simd_exp_of_nan_is_nan_in_its_lane_only():
    for dtype in (np.float32, np.float64):
        x = np.arange(SIMD_WIDTH, dtype=dtype)
        x[3] = np.nan
        assert np.flatnonzero(np.isnan(exp_of(x))).tolist() == [3]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_simd_arithmetic_is_numpys(dtype):
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 3 * SIMD_WIDTH + 5)).astype(dtype)
    z = np.full_like(x, -7)
    mixed(x, y, z)
    n = 3 * SIMD_WIDTH
    expected = (2 - x.astype(float)) * y / (x.astype(float) + 1.5) - 0.1 * (y.astype(float) - 3)
    np.testing.assert_allclose(z[:n], expected[:n], rtol=4 * np.finfo(dtype).eps)
    assert np.all(z[n:] == -7)
