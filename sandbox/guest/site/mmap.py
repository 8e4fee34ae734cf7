"""Packages ask for the type. There are no mapped files here."""

ACCESS_DEFAULT, ACCESS_READ, ACCESS_WRITE, ACCESS_COPY = range(4)
PAGESIZE = ALLOCATIONGRANULARITY = 65536
MAP_SHARED, MAP_PRIVATE, MAP_ANON, MAP_ANONYMOUS = 1, 2, 32, 32
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
error = OSError


class mmap:
    def __new__(cls, *args, **kwargs):
        raise OSError("the sandbox cannot map files; read them")
