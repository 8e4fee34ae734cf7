"""Asks an API by urllib, without a grant for it. With one, `call_json_api` of `granted` gets its answer.

args: (("http://127.0.0.1:9/towns",), {})
native: raises URLError containing refused
sandbox: raises URLError containing the sandbox has no network
reported: https://github.com/nalgeon/codapi-js/issues/35: the network does not work, so there are no HTTP requests
"""


def ask_api(address):
    import json
    import urllib.request

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(address, timeout=2) as answer:
        return json.load(answer)
