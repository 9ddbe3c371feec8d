"""``python -m alexdsl.cli``."""

import sys

from alexdsl.cli import main

sys.exit(main())
