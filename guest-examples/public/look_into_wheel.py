"""Packs a wheel in memory and looks into it, as an installer of packages does.

args: (("towns", "1.2"), {})
native: value ('towns', '1.2', None)
sandbox: same
reported: https://github.com/RustPython/RustPython/issues/4931: `import zipfile` found no module `binascii`
"""


def look_into_wheel(name, version):
    import io
    import zipfile
    from email.parser import Parser

    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/__init__.py", "PEOPLE = 134\n")
        archive.writestr(f"{name}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n")
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(path for path in archive.namelist() if path.endswith("METADATA"))
        fields = Parser().parsestr(archive.read(metadata).decode())
        return fields["Name"], fields["Version"], archive.testzip()
