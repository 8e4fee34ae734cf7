"""Ends well if the gateway of this container answers: for health checks, since the image holds no curl.

usage: healthcheck.py [/healthz | /readyz]
"""

import os
import ssl
import sys
import urllib.request

# Only whether it answers: whose certificate it is, clients check.
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
scheme = "https" if os.environ.get("BELLJAR_HTTP_TLS_CERT") else "http"
port = os.environ.get("BELLJAR_LISTEN", "127.0.0.1:8000").rpartition(":")[2]
path = sys.argv[1] if len(sys.argv) > 1 else "/healthz"
try:
    urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}{path}", timeout=5, context=context)
except OSError as error:
    sys.exit(f"the gateway does not answer: {error}")
