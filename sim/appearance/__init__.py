"""What an episode looks like: season and weather, ground, sky, and the veil of the weather over the picture."""
