"""The window for people: what it asks of OpenCV, its pace, and its one-line errors."""

import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sim.errors import BadInputError
from sim.window import Window

PICTURE = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


@pytest.fixture
def screen(monkeypatch):
    """OpenCV's window functions, written down; ``visible`` is what a person left open."""

    screen = SimpleNamespace(calls=[], visible=1.0, gone=False)

    def visibility(title, what):
        assert what == cv2.WND_PROP_VISIBLE
        if screen.gone:
            raise cv2.error("NULL guiReceiver")
        return screen.visible

    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.setattr(cv2, "namedWindow", lambda title, flags: screen.calls.append(("open", title)))
    monkeypatch.setattr(cv2, "resizeWindow", lambda title, *size: screen.calls.append(("size", *size)))
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: screen.calls.append(("show", picture)))
    monkeypatch.setattr(cv2, "waitKey", lambda ms: screen.calls.append(("wait", ms)) or -1)
    monkeypatch.setattr(cv2, "getWindowProperty", visibility)
    monkeypatch.setattr(cv2, "destroyWindow", lambda title: screen.calls.append(("destroy", title)))
    return screen


def names(screen):
    return [call[0] for call in screen.calls]


def test_window_opens_with_the_first_picture_and_shows_bgr(screen):
    window = Window("world", 1000.0)
    assert screen.calls == []
    window.show(PICTURE)
    assert screen.calls[:2] == [("open", "world"), ("size", 7, 5)]
    name, shown = screen.calls[2]
    assert name == "show"
    np.testing.assert_array_equal(shown, PICTURE[..., ::-1])
    assert shown.flags.c_contiguous
    window.show(PICTURE)
    assert names(screen) == ["open", "size", "show", "wait", "show", "wait"]


def test_window_keeps_real_time(screen):
    window = Window("world", 50.0)
    started_s = time.monotonic()
    for _ in range(6):
        window.show(PICTURE)
    assert time.monotonic() - started_s >= 5 * 0.02 - 1e-3  # the first is shown at once
    assert all(call[1] >= 1 for call in screen.calls if call[0] == "wait")  # 0 would wait for a key


def test_window_late_picture_does_not_hurry_the_later_ones(screen):
    window = Window("world", 20.0)
    window.show(PICTURE)
    time.sleep(0.2)
    window.show(PICTURE)
    started_s = time.monotonic()
    window.show(PICTURE)
    assert time.monotonic() - started_s >= 0.04


@pytest.mark.parametrize("way", ["hidden", "gone"])
def test_window_closed_by_a_person_stays_closed(screen, way):
    window = Window("world", 1000.0)
    window.show(PICTURE)
    screen.visible, screen.gone = 0.0, way == "gone"
    for _ in range(3):
        window.show(PICTURE)
    assert names(screen).count("show") == 1
    assert names(screen).count("open") == 1


def test_window_closes_once_and_only_what_was_opened(screen):
    window = Window("world", 1000.0)
    window.close()
    assert screen.calls == []
    window.show(PICTURE)
    window.close()
    window.close()
    assert names(screen).count("destroy") == 1


@pytest.mark.parametrize("variable", ["", None])
def test_window_without_a_display_is_an_error_of_one_line(screen, monkeypatch, variable):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if variable is None:
        monkeypatch.delenv("DISPLAY")
    else:
        monkeypatch.setenv("DISPLAY", variable)
    with pytest.raises(BadInputError, match=r"expected a display.*rgb_array") as caught:
        Window("world", 20.0).show(PICTURE)
    assert "\n" not in str(caught.value)
    assert screen.calls == []


def test_window_of_a_headless_opencv_is_an_error_that_says_what_to_install(screen, monkeypatch):
    if "GUI:                           NONE" in cv2.getBuildInformation():
        monkeypatch.undo()  # the real functions, which this OpenCV has only by name
        monkeypatch.setenv("DISPLAY", ":7")
    else:

        def namedWindow(title, flags):  # noqa: N802 (OpenCV's name)
            raise cv2.error("The function is not implemented. Rebuild the library with Windows, GTK+ 2.x ...")

        monkeypatch.setattr(cv2, "namedWindow", namedWindow)
    with pytest.raises(BadInputError, match="pip install opencv-python") as caught:
        Window("world", 20.0).show(PICTURE)
    assert "\n" not in str(caught.value)
