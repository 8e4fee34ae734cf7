"""Fetches one file from the package index that pip is configured for: fetch_index.py PROJECT FILE TARGET

`pip download` would build what it downloads, for minutes, only to know its name.
"""

import sys

from pip._internal.commands import create_command

project, name, target = sys.argv[1:]
command = create_command("download")
options, _ = command.parse_args([project])
with command.main_context():
    session = command.get_default_session(options)
    finder = command._build_package_finder(options, session)
    links = [found.link for found in finder.find_all_candidates(project) if found.link.filename == name]
    if not links:
        sys.exit(f"the package index has no {name}")
    response = session.get(links[0].url.partition("#")[0], stream=True)
    response.raise_for_status()
    with open(target, "wb") as file:
        for piece in response.iter_content(1 << 16):
            file.write(piece)
