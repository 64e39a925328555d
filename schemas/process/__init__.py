"""Process-level code of the long-running programs: stop signals, logs, health, metrics, watchdog, memory."""
