"""``python -m consumer`` is ``mirakl-resync-consumer``."""

import sys

from consumer.cli import main

sys.exit(main())
