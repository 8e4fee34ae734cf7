"""Imports the parts of `multiprocessing` that libraries import as a matter of course.

args: ((), {})
native: value ('MainProcess', [], True)
sandbox: same
reported: https://github.com/python/cpython/issues/114807: `from multiprocessing import connection` raised ImportError
"""


def import_connection():
    import multiprocessing
    from multiprocessing import connection

    return multiprocessing.current_process().name, multiprocessing.active_children(), issubclass(connection.AuthenticationError, Exception)
