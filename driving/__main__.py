"""``python -m driving``."""

import sys

from driving.cli import main

sys.exit(main())
