"""What both long-running programs share as processes: stop signals, logs, health, metrics, the watchdog, memory."""
