"""``liquid-lane serve``: drive, disturb and look inside in a browser."""
