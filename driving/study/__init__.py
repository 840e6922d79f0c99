"""The study of attention: the same scenes for all networks, the effects of what is in them, scores of the maps."""
