"""From a lane to CM21 calls: queues, slots, back-pressure, shedding, bisection."""
