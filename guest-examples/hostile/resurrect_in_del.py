"""Makes an object again each time that it is destroyed.

args: ((), {})
native: raises TimeoutError containing 500ms
sandbox: same
limits: timeout_s=0.5 memory_mb=128
"""


def resurrect_in_del():
    class Phoenix:
        def __del__(self):
            while True:
                Phoenix.kept = [self]

    Phoenix()
