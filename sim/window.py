"""A window that shows pictures to people in real time: ``render_mode="human"`` (extra ``window``: pygame-ce)."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np

from sim.errors import BadInputError, one_line

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
"""What says where windows go, on Linux; the last one is SDL's own choice."""


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
        self._window: Any = None

    def show(self, picture: np.ndarray) -> None:
        """Show a picture, uint8 (H, W, 3) RGB.

        Raises:
            BadInputError: there is no display, or pygame-ce is not installed.
        """
        if self._dismissed:
            return
        if self._window is None:
            self._open(picture)
        elif self._is_dismissed():
            self._dismissed = True
            self.close()
            return
        self._draw(picture)
        now_s = time.monotonic()
        due_s = now_s if self._due_s is None else self._due_s
        time.sleep(max(due_s - now_s, 0.0))
        self._due_s = max(due_s, now_s) + self.period_s  # late pictures do not hurry the later ones

    def close(self) -> None:
        """Close the window; it may be called again, and without one."""
        if self._window is not None:
            self._window.destroy()
            self._window, self._due_s = None, None

    def _draw(self, picture: np.ndarray) -> None:
        """As large as the window allows without changing the picture's shape."""
        import pygame

        height, width = picture.shape[:2]
        surface = self._window.get_surface()
        room = surface.get_size()
        scale = min(room[0] / width, room[1] / height)
        size = max(round(scale * width), 1), max(round(scale * height), 1)
        image = pygame.image.frombuffer(np.ascontiguousarray(picture).tobytes(), (width, height), "RGB")
        surface.fill((0, 0, 0))
        surface.blit(pygame.transform.scale(image, size), ((room[0] - size[0]) // 2, (room[1] - size[1]) // 2))
        self._window.flip()

    def _is_dismissed(self) -> bool:
        """Has a person closed it? Answers the system's other questions too; what another window is told stays."""
        import pygame

        is_dismissed = False
        for event in pygame.event.get():
            if event.type == pygame.WINDOWCLOSE:
                if event.window is self._window:
                    is_dismissed = True
                elif event.window is not None:
                    pygame.event.post(event)
        return is_dismissed

    def _open(self, picture: np.ndarray) -> None:
        if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in _DISPLAYS):
            raise BadInputError(
                "render_mode 'human': expected a display, got none (DISPLAY is not set); run it on a desktop, "
                "under xvfb-run, or take render_mode 'rgb_array'"
            )
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError:
            raise BadInputError(
                "render_mode 'human': pygame-ce is not installed; run: pip install 'liquid-lane[window]'"
            ) from None
        if not hasattr(pygame, "Window"):
            raise BadInputError(
                f"render_mode 'human': expected pygame-ce 2.5, got another pygame ({pygame.version.ver}); run: "
                "pip uninstall pygame && pip install 'liquid-lane[window]'"
            )
        try:
            pygame.display.init()
            self._window = pygame.Window(self.title, (picture.shape[1], picture.shape[0]), resizable=True)
        except pygame.error as error:
            raise BadInputError(
                f"render_mode 'human': no window can be opened ({one_line(error)}); run it on a desktop, under "
                "xvfb-run, or take render_mode 'rgb_array'"
            ) from None
