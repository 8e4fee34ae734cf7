"""Reads the environment, where deployments keep secrets.

args: ((), {})
native: unsafe
sandbox: value {}
"""


def read_environment():
    import os

    return dict(os.environ)
