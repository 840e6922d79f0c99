"""A window that shows pictures to people in real time: ``render_mode="human"``."""

from __future__ import annotations

import contextlib
import os
import sys
import time

import cv2
import numpy as np

from sim.errors import BadInputError


class Window:
    """Opens at the first picture and shows each until the next one is due.

    Once a person has closed it, it stays closed and costs no time.

    Args:
        title: of the window.
        fps: pictures a second; ``show`` waits as long as that takes.
    """

    def __init__(self, title: str, fps: float) -> None:
        self.title, self.period_s = title, 1.0 / fps
        self._due_s: float | None = None
        self._dismissed = False

    def show(self, picture: np.ndarray) -> None:
        """Show a picture, uint8 (H, W, 3) RGB.

        Raises:
            BadInputError: there is no display, or the installed OpenCV has no windows.
        """
        if self._dismissed:
            return
        if self._due_s is None:
            self._open(picture)
        elif not self._is_visible():
            self._dismissed = True
            self.close()
            return
        cv2.imshow(self.title, np.ascontiguousarray(picture[..., ::-1]))
        now_s = time.monotonic()
        due_s = now_s if self._due_s is None else self._due_s
        # waitKey draws the picture and answers the mouse; a key ends it early, so the rest is slept.
        cv2.waitKey(max(int(1000 * (due_s - now_s)), 1))
        time.sleep(max(due_s - time.monotonic(), 0.0))
        self._due_s = max(due_s, now_s) + self.period_s  # late pictures do not hurry the later ones

    def close(self) -> None:
        """Close the window; it may be called again, and without one."""
        if self._due_s is None:
            return
        self._due_s = None
        with contextlib.suppress(cv2.error):  # a person was quicker
            cv2.destroyWindow(self.title)
            cv2.waitKey(1)

    def _is_visible(self) -> bool:
        try:
            return cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # some of OpenCV's toolkits say so of a window that is gone
            return False

    def _open(self, picture: np.ndarray) -> None:
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise BadInputError(
                "render_mode 'human': expected a display, got none (DISPLAY is not set); run it on a desktop, "
                "under xvfb-run, or take render_mode 'rgb_array'"
            )
        try:
            cv2.namedWindow(self.title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(self.title, picture.shape[1], picture.shape[0])
        except cv2.error:
            raise BadInputError(
                "render_mode 'human': expected an OpenCV with windows, got the headless one; run `pip uninstall "
                "opencv-python-headless && pip install opencv-python` (on Debian also `apt install libgl1`)"
            ) from None
