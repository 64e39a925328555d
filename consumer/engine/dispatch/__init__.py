"""Dispatch: from lanes to CM21 calls. Queues, slots, back-pressure, shedding, bisection, verdicts."""
