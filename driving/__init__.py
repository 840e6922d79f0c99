"""The driver and the experiments: policies, training, closed loop, attention, noise."""
