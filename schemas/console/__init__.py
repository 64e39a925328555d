"""What both programs share as command-line programs: startup, streams, output, options, and how a command ends.

`startup`, `streams`, `termination` and `text` import the standard library only.
"""
