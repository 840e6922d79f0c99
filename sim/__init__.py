"""The world: roads, car, camera, recorded drives and environments.

``import sim`` registers the environments with Gymnasium, as does naming the module in
``gymnasium.make("sim:lane/Procedural-v0")``.
"""

from gymnasium.envs.registration import register, registry

WORLDS = {
    "lane/Procedural-v0": ("sim.procedural_env:ProceduralEnv", "sim.vector:make_procedural"),
    "lane/Replay-v0": ("sim.replay_env:ReplayEnv", "sim.vector:make_replay"),
    "lane/MetaDrive-v0": ("sim.adapters.metadrive:MetaDriveEnv", "sim.vector:make_metadrive"),
}
"""Of each id: what one environment is, and many at once."""

for _id, (_one, _many) in WORLDS.items():
    if _id not in registry:
        register(_id, entry_point=_one, vector_entry_point=_many)
