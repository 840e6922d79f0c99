import torch


class Stepper:
    def __init__(self, policy):
        self.policy = policy

    def step(self, frames, state, dt_s):
        with torch.no_grad():
            c, s = self.policy.step(torch.from_numpy(frames).movedim(-1, -3), state, torch.from_numpy(dt_s))
        return c.numpy(), s
