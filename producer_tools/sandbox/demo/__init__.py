"""The whole system at work on embedded parts: broker, SQLite, a simulated Mirakl, and the service as its own process.

``cases`` says what is asked for and which answer is the right one; ``performance`` sends it and collects what comes
back; ``service`` and ``mirakl`` are the parts it plays on; ``screen`` shows it.
"""
