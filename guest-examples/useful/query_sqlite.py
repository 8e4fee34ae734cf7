"""Queries a small database in memory.

args: (([("Bern", 134), ("Basel", 174), ("Chur", 38)], 100), {})
native: value [('BASEL', 174), ('BERN', 134)]
sandbox: same
"""


def query_sqlite(rows, least):
    import sqlite3

    with sqlite3.connect(":memory:") as database:
        database.execute("create table town (name text, people integer)")
        database.executemany("insert into town values (?, ?)", rows)
        found = database.execute("select upper(name), people from town where people >= ? order by people desc", (least,))
        return found.fetchall()
