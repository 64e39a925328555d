"""``python -m producer_tools``: the same as ``mirakl-resync``."""

from producer_tools.cli import main

main()
