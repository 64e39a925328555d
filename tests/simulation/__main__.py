"""``python -m tests.simulation``: hostile schedules through the engine, each reproducible from its seed."""

import argparse
import sys
import time
import traceback
from tests.simulation.laws import ViolationError
from tests.simulation.scenario import make_plan
from tests.simulation.world import World

def run_seed(seed, tracing=False):
    world = World(make_plan(seed), tracing=tracing)
    try:
        world.run()
    except Exception as problem:
        return world, problem
    return world, None

def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seeds", type=int, default=1000)
    p.add_argument("--from", dest="start", type=int, default=0)
    p.add_argument("--seed", type=int)
    p.add_argument("--trace", action="store_true")
    p.add_argument("--keep", type=int, default=1000000)
    a = p.parse_args()
    if a.seed is not None:
        w, problem = run_seed(a.seed, tracing=True)
        for line in w.told[-a.keep:]:
            print(line)
        print(repr(problem))
        if problem is not None and not isinstance(problem, ViolationError):
            traceback.print_exception(problem)
        return
    began = time.time()
    bad = 0
    events = 0
    kinds = {}
    for seed in range(a.start, a.start + a.seeds):
        w, problem = run_seed(seed)
        events += w.loop.events
        if problem:
            bad += 1
            print(seed, repr(problem)[:230])
            if not isinstance(problem, ViolationError) :
                traceback.print_exception(problem)
    took = time.time() - began
    print(f"{a.seeds} seeds, {bad} bad, {a.seeds / took:.1f}/s, {events / a.seeds:.0f} events each")

main()
