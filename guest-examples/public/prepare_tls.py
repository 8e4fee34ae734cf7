"""Imports `ssl` as libraries do at their start, though nothing is asked by it in the end.

args: ((), {})
native: value (True, True, True, 443)
sandbox: same
reported: https://github.com/pyodide/pyodide/issues/6032: packages failed at `import ssl`: it is not part of that standard library
"""


def prepare_tls():
    import http.client
    import ssl
    import urllib.request

    context = ssl.create_default_context()
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    return context.check_hostname, context.verify_mode == ssl.CERT_REQUIRED, bool(opener.handlers), http.client.HTTPSConnection.default_port
