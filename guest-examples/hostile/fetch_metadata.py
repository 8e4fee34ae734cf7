"""Asks the address where clouds hand out credentials.

args: ((), {})
native: unsafe
sandbox: raises URLError containing the sandbox has no network
"""


def fetch_metadata():
    import urllib.request

    return urllib.request.urlopen("http://169.254.169.254/latest/meta-data/", timeout=0.5).read()
