"""`python -m belljar`: the client's commands."""

import sys

from ._cli import main

if __name__ == "__main__":
    sys.exit(main())
