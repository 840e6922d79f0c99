"""The noise harness: policies x noises x roads, an episode a row, and what the rows say."""
