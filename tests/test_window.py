"""The window for people: what it shows, its pace, and its one-line errors. SDL draws into memory here."""

import sys
import time

import numpy as np
import pytest

from sim.errors import BadInputError
from sim.window import Window

PICTURE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)


@pytest.fixture
def pygame(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    found = pytest.importorskip("pygame", reason="needs the extra window")
    yield found
    found.quit()


@pytest.fixture
def window(pygame):
    made = Window("world", 1000.0)
    yield made
    made.close()


def shown(window, pygame):
    """(H, W, 3) of what is on the screen."""
    return pygame.surfarray.array3d(window._window.get_surface()).swapaxes(0, 1)


def close_by_hand(window, pygame):
    pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE, window=window._window))


def test_window_opens_with_the_first_picture_and_shows_it(window, pygame):
    assert window._window is None
    window.show(PICTURE)
    assert (window._window.title, window._window.size) == ("world", (70, 50))
    np.testing.assert_array_equal(shown(window, pygame), PICTURE)
    window.show(PICTURE[:, ::-1])
    np.testing.assert_array_equal(shown(window, pygame), PICTURE[:, ::-1])


def test_window_of_another_size_keeps_the_picture_in_shape(window, pygame):
    window.show(PICTURE)
    window._window.size = (210, 100)
    window.show(PICTURE)
    screen = shown(window, pygame)
    assert screen.shape == (100, 210, 3)
    assert not screen[:, :34].any()
    assert not screen[:, 176:].any()
    np.testing.assert_array_equal(screen[::2, 35:175:2], PICTURE)


def test_window_keeps_real_time(pygame):
    window = Window("world", 50.0)
    started_s = time.monotonic()
    for _ in range(6):
        window.show(PICTURE)
    window.close()
    assert time.monotonic() - started_s >= 5 * 0.02 - 1e-3  # the first is shown at once


def test_window_late_picture_does_not_hurry_the_later_ones(pygame):
    window = Window("world", 20.0)
    window.show(PICTURE)
    time.sleep(0.2)
    window.show(PICTURE)
    started_s = time.monotonic()
    window.show(PICTURE)
    window.close()
    assert time.monotonic() - started_s >= 0.04


def test_window_closed_by_a_person_stays_closed_and_the_other_one_open(window, pygame):
    other = Window("other", 1000.0)
    for one in (window, other):
        one.show(PICTURE)
    close_by_hand(window, pygame)
    other.show(PICTURE)  # sees the event first
    for _ in range(3):
        window.show(PICTURE)
        other.show(PICTURE)
    assert window._window is None
    assert other._window is not None
    other.close()


def test_window_closes_once_and_only_what_was_opened(window):
    window.close()
    window.show(PICTURE)
    window.close()
    window.close()
    window.show(PICTURE)  # nobody dismissed it
    assert window._window is not None


@pytest.mark.parametrize("variable", ["", None])
def test_window_without_a_display_is_an_error_of_one_line(monkeypatch, variable):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv("DISPLAY", variable)
    with pytest.raises(BadInputError, match=r"expected a display.*rgb_array") as caught:
        Window("world", 20.0).show(PICTURE)
    assert "\n" not in str(caught.value)


def test_window_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(BadInputError, match=r"pip install 'liquid-lane\[window\]'"):
        Window("world", 20.0).show(PICTURE)


def test_window_of_a_driver_that_is_not_there_is_one_line(monkeypatch):
    pygame = pytest.importorskip("pygame", reason="needs the extra window")
    pygame.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "no_such_driver")
    with pytest.raises(BadInputError, match="no window can be opened") as caught:
        Window("world", 20.0).show(PICTURE)
    assert "\n" not in str(caught.value)
