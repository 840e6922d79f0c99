"""Third-party simulators behind our environment contract, one module each; none is imported before it is used."""
