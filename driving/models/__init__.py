"""The networks: encoder, liquid circuit, baselines, and the policy and checkpoints that hold them."""
