"""Where the ground is that a camera sees, for tests."""

import numpy as np

from sim.ground_profile import GroundProfile, fill_rows


def unproject(camera, u_px, v_px):
    """Ground point (forward_m, left_m) seen at a pixel below the horizon; undoes ``Camera.project``."""
    forward_m = camera.focal_v_px * camera.height_m / (np.asarray(v_px) - camera.horizon_v_px)
    return forward_m, (camera.horizon_u_px - np.asarray(u_px)) * forward_m / camera.focal_u_px


def ground_profile(camera, forward_m, height_m):
    """The profile of given heights."""
    row_px, crest_px = np.empty((2, len(forward_m)))
    fill_rows(forward_m, height_m, camera.height_m, camera.focal_v_px, camera.horizon_v_px, row_px, crest_px)
    return GroundProfile(forward_m, height_m, row_px, crest_px)
