"""Lets `multiprocessing` import. There is one process here."""


class SemLock:
    SEM_VALUE_MAX = 2**31 - 1

    def __new__(cls, *args, **kwargs):
        raise OSError("the sandbox has one process, and so no semaphores between processes")


def sem_unlink(name):
    raise FileNotFoundError(name)
