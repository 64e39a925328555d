"""What both programs share as Unix programs: standard streams, stop requests, text that is safe to show.

A leaf of the standard library only, so that both programs can import it before anything else.
"""
