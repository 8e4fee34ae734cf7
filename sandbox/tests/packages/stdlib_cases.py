"""What the standard library gives natively and in the sandbox: see record.py."""

EXPRESSIONS = """
bz2.decompress(bz2.compress(b"abc" * 1000)) == b"abc" * 1000
bz2.compress(b"abc" * 10)
lzma.decompress(lzma.compress(b"abc" * 1000)) == b"abc" * 1000
lzma.compress(b"abc" * 10)
lzma.compress(b"abc" * 10, format=lzma.FORMAT_ALONE)
[read(mode) for mode in ("gz", "bz2", "xz")]
sql("select 1 + 1, 'a' || 'b', typeof(2.5), round(2.567, 2)")
sql("select json_extract('{\\"a\\": [1, 2]}', '$.a[1]')")
sql("select sqrt(16), upper('abc'), date('2024-02-28', '+2 days')")
sql("with recursive n(i) as (select 1 union all select i + 1 from n where i < 100) select sum(i) from n")
sql("select twice(21)")
sqlite3.connect(":memory:").executescript("create virtual table t using fts5(x); insert into t values ('one two')").connection.execute("select * from t where t match 'two'").fetchall()
sqlite3.connect(":memory:").execute("no sql")
sqlite3.connect("/nowhere/at/all")
datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")).isoformat()
datetime(2024, 7, 1, 12, tzinfo=timezone.utc).astimezone(ZoneInfo("America/New_York")).isoformat()
datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1).utcoffset()
datetime(1900, 1, 1, tzinfo=ZoneInfo("Asia/Kolkata")).tzname()
ZoneInfo("Europe/Atlantis")
datetime.strptime("2 Jan 2024 03:04 +0100", "%d %b %Y %H:%M %z").isoformat(), time.strptime("2024", "%Y").tm_year
{"UTC", "Asia/Tokyo"} <= zoneinfo.available_timezones()
hashlib.pbkdf2_hmac("sha256", b"x", b"salt", 100).hex()
[hashlib.new(name, b"x").hexdigest()[:8] for name in ("md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b")]
os.umask(0o022), os.umask(0o022)
type(os.getuid()), type(os.getppid()), type(socket.gethostname())
time.thread_time() >= 0, time.thread_time_ns() >= 0
pathlib.Path.home().is_absolute(), os.path.expanduser("~").startswith("/")
[int(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGKILL", "SIGUSR1", "SIGALRM", "SIGCHLD", "SIGPIPE")]
ssl.create_default_context().check_hostname, issubclass(ssl.SSLError, OSError), ssl.CERT_REQUIRED.name
multiprocessing.cpu_count() >= 1, multiprocessing.current_process().name
time.get_clock_info("thread_time").monotonic, issubclass(signal.ItimerError, OSError)
refused(lambda: os.posix_fallocate(99, 0, 1)), refused(lambda: os.posix_fadvise(99, 0, 1, os.POSIX_FADV_NORMAL))
refused(lambda: os.posix_fallocate(0, -1, 1)), refused(lambda: os.utime("/", (1, 1), ns=(1, 1)))
"""


def sql(text):
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.create_function("twice", 1, lambda x: 2 * x)
    return connection.execute(text).fetchall()


def refused(do):
    """The class and number of what something raises."""
    try:
        return do()
    except Exception as error:
        return type(error).__name__, getattr(error, "errno", None)


def read(mode):
    """A tar file that was packed, read again."""
    import io
    import tarfile

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:" + mode) as tar:
        info = tarfile.TarInfo("a.txt")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        return tar.extractfile("a.txt").read()


def f():
    import bz2, hashlib, lzma, multiprocessing, os, pathlib, signal, socket, sqlite3, ssl, time, zoneinfo
    from datetime import datetime, timezone
    from zoneinfo import ZoneInfo

    return answers(EXPRESSIONS, {**globals(), **locals()})
