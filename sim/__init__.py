"""The world: roads, car, camera, recorded drives and environments.

``import sim`` registers the environments with Gymnasium, as does naming the module in
``gymnasium.make("sim:lane/Procedural-v0")``.
"""

from gymnasium.envs.registration import register, registry

if "lane/Procedural-v0" not in registry:
    register("lane/Procedural-v0", entry_point="sim.procedural_env:ProceduralEnv")
