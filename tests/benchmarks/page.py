"""The live page in a real browser: pictures a second, delay from key to picture, and whether anything grows.

    python -m tests.benchmarks.page --minutes 60

Starts ``liquid-lane serve``, opens the page in headless Chromium (Playwright, with the system's browser) and presses an
arrow key every other second. Needs ``playwright`` and Chromium. Server and browser share this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PORT = 8791


def memory_mb(pid: int) -> float:
    """Resident, of a process and all below it (Linux)."""
    total, waiting = 0.0, [pid]
    while waiting:
        one = waiting.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * 4096 / 1e6
            waiting += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
        except FileNotFoundError:
            continue
    return round(total, 1)


@contextlib.contextmanager
def opened(scene: str, size: tuple[int, int] = (1280, 900)) -> Iterator[tuple[Any, int]]:
    """The page of a server of its own, driving, in headless Chromium; and the server's process id."""
    from playwright.sync_api import sync_playwright

    words = [sys.executable, "-m", "driving", "serve", "--port", str(PORT)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    server.stdout.readline()
    try:
        with sync_playwright() as driver:
            program = shutil.which("chromium") or shutil.which("google-chrome")
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": size[0], "height": size[1]})
            page.goto(f"http://127.0.0.1:{PORT}/?{scene}")
            page.wait_for_timeout(20_000)
            yield page, server.pid
            browser.close()
    finally:
        server.terminate()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--scene", default="policies=ltc19,lstm64&seed=2005", help="Of the page's address.")
    parser.add_argument("--shot", type=Path, help="Screenshot at the end.")
    given = parser.parse_args()
    faults: list[str] = []
    with opened(given.scene) as (page, pid):
        page.on("pageerror", lambda error: faults.append(str(error)))
        rates, delays, memories = [], [], [memory_mb(pid)]
        heap_mb = [page.evaluate("performance.memory.usedJSHeapSize / 1e6")]
        until, next_memory = time.monotonic() + 60 * given.minutes, time.monotonic() + 60
        while time.monotonic() < until:
            for key in ("ArrowLeft", "ArrowRight"):
                page.keyboard.down(key)
                time.sleep(0.5)
                page.keyboard.up(key)
                time.sleep(0.5)
            figures = page.evaluate("({...document.body.dataset})")
            rates.append(float(figures["rate"]))
            delays.append(page.evaluate("[...delays].sort((a, b) => a - b)[delays.length >> 1]"))
            if time.monotonic() >= next_memory:
                next_memory += 60
                memories.append(memory_mb(pid))
                heap_mb.append(page.evaluate("performance.memory.usedJSHeapSize / 1e6"))
        if given.shot:
            page.screenshot(path=str(given.shot), full_page=True)
    figures = {
        "minutes": given.minutes,
        "pictures_per_s": statistics.median(rates),
        "key_to_picture_ms": round(statistics.median(delays), 1),
        "server_mb": memories[:: max(len(memories) // 12, 1)],
        "page_heap_mb": [round(value, 1) for value in heap_mb[:: max(len(heap_mb) // 12, 1)]],
        "faults": faults,
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
