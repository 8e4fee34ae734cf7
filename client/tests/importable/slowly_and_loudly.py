"""Says that it was imported."""

import slowly  # noqa: F401

print("loud")
