"""The operating system's process: signals, watchdog, memory."""
