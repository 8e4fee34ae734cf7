"""Never ends and swallows every exception.

args: ((), {})
native: raises TimeoutError containing 500ms
sandbox: same
limits: timeout_s=0.5 memory_mb=128
"""


def catch_everything():
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue
