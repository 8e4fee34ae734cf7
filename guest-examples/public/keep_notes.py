"""Keeps notes in a database of sqlite in a file, and finds one of them again.

args: (([("milk", 2), ("bread", 1), ("tea", 7)], 2), {})
native: value ['milk', 'tea']
sandbox: same
reported: https://github.com/ErikKaum/runner/issues/1: `import sqlite3` found no module `_sqlite3`
"""


def keep_notes(notes, least):
    import os
    import sqlite3
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "notes.db")
        with sqlite3.connect(path) as database:
            database.execute("create table note (what text primary key, count integer)")
            database.executemany("insert into note values (?, ?)", notes)
        database.close()
        again = sqlite3.connect(path)
        found = [what for (what,) in again.execute("select what from note where count >= ? order by what", (least,))]
        again.close()
    return found
