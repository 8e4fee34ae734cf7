"""Asks the address where clouds hand out credentials.

args: ((), {})
native: unsafe
sandbox: raises AttributeError containing module '_socket' has no attribute 'getaddrinfo'
"""


def fetch_metadata():
    import urllib.request

    return urllib.request.urlopen("http://169.254.169.254/latest/meta-data/", timeout=0.5).read()
