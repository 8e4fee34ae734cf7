"""Reads settings as YAML by libyaml, packs them by msgpack, and escapes one for a page.

args: (("servers:\n  - {name: <a>, ports: [80, 443]}\n  - {name: b, ports: []}\nretries: 3\n",), {})
native: unsafe
sandbox: value ['&lt;a&gt;', True, True]
"""


def read_settings(text):
    import markupsafe
    import msgpack
    import yaml

    settings = yaml.load(text, Loader=yaml.CSafeLoader)
    packed = msgpack.packb(settings)
    try:
        yaml.load("[" * 3000, Loader=yaml.CSafeLoader)
        is_refused = False
    except (yaml.YAMLError, RecursionError):
        is_refused = True
    return [str(markupsafe.escape(settings["servers"][0]["name"])), msgpack.unpackb(packed) == settings, is_refused]
