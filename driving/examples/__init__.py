"""Short scripts that use the project from outside, each run by the tests where its packages are installed."""
