"""Where the program keeps what it can make again: the user's cache folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """``$LIQUID_LANE_CACHE``, else ``liquid-lane`` in the system's folder for caches; it need not exist yet."""
    if own := os.environ.get("LIQUID_LANE_CACHE"):
        return Path(own)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "liquid-lane"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "liquid-lane" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liquid-lane"
