"""Where the ground is that a camera sees, for tests: the opposite of ``Camera.project``."""

import numpy as np


def unproject(camera, u_px, v_px):
    """Ground point (forward_m, left_m) seen at a pixel below the horizon."""
    forward_m = camera.focal_v_px * camera.height_m / (np.asarray(v_px) - camera.horizon_v_px)
    return forward_m, (camera.horizon_u_px - np.asarray(u_px)) * forward_m / camera.focal_u_px
