"""Command-line code of both programs: startup, streams, output, options, and exit codes.

`startup`, `streams`, `termination` and `text` import the standard library only.
"""
