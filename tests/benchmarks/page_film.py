"""A screen recording of the live page, through real clicks: noise, a neuron, a push, the wheel taken, ten seconds back.

    python -m tests.benchmarks.page_film --out checkpoints/live.webp

An mp4, or an animated picture by the name's end. Needs ``playwright`` and Chromium.
"""

from __future__ import annotations

import argparse
import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from driving.video import writer_for
from tests.benchmarks.page import opened

FRAME_RATE_HZ = 8
SIZE_PX = (1280, 1010)


def visit(page: Any) -> None:
    """Half a minute on the page, as somebody would spend it."""

    def wait(seconds: float) -> None:
        page.wait_for_timeout(1000 * seconds)

    wait(3)
    page.select_option("select[name=noise]", "gaussian")
    slider = page.locator("input[name=severity]")
    for percent in range(0, 46, 3):  # of the slider, slowly upwards
        slider.evaluate("(e, p) => { e.value = p / 100 * e.max; e.dispatchEvent(new Event('input')); }", percent)
        wait(0.3)
    wait(4)
    page.select_option("select[name=noise]", "none")
    wait(1)
    page.locator(".seat .which").first.select_option(index=17)
    wait(2)
    page.click("[data-do=push_left]")
    wait(3)
    page.locator("body").click(position={"x": 5, "y": 5})
    page.keyboard.down("ArrowRight")
    wait(0.7)
    page.keyboard.up("ArrowRight")
    wait(3)
    page.click("[data-do=rewind]")
    wait(3)


def main() -> None:
    """Record and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", default="policies=ltc19,lstm64&seed=2005&family=country&season=summer&weather=clear")
    parser.add_argument("--out", type=Path, default=Path("live.mp4"))
    given = parser.parse_args()
    shots: list[tuple[float, bytes]] = []
    with opened(given.scene, SIZE_PX) as (page, _):
        screen = page.context.new_cdp_session(page)

        def keep(shot: dict[str, Any]) -> None:
            shots.append((shot["metadata"]["timestamp"], base64.b64decode(shot["data"])))
            screen.send("Page.screencastFrameAck", {"sessionId": shot["sessionId"]})

        screen.on("Page.screencastFrame", keep)
        screen.send("Page.startScreencast", {"format": "jpeg", "quality": 90})
        visit(page)
        screen.send("Page.stopScreencast")
    times = np.array([time for time, _ in shots])
    width, height = SIZE_PX
    with writer_for(given.out, FRAME_RATE_HZ, height, width) as video:
        for time in np.arange(times[0], times[-1], 1 / FRAME_RATE_HZ):
            shot = shots[int(np.searchsorted(times, time, side="right")) - 1][1]
            picture = Image.open(io.BytesIO(shot)).convert("RGB").resize(SIZE_PX)
            video.write(np.asarray(picture))
    print(
        f"{given.out}: {times[-1] - times[0]:.1f} s, {len(shots) / (times[-1] - times[0]):.1f} pictures a second seen"
    )


if __name__ == "__main__":
    main()
