"""Takes its time, and says when it was imported."""

import time

time.sleep(0.02)
AT = time.time_ns()
seen = []
