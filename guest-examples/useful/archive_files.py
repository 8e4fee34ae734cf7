"""Writes files, packs them into an archive and reads that back.

args: (({"a.txt": "tea", "b.txt": "cake"},), {})
native: value ([('a.txt', 3), ('b.txt', 4)], 'cake')
sandbox: same
"""


def archive_files(texts):
    import os
    import shutil
    import tempfile
    import zipfile

    with tempfile.TemporaryDirectory() as folder:
        inside = os.path.join(folder, "texts")
        os.mkdir(inside)
        for name, text in texts.items():
            with open(os.path.join(inside, name), "w") as file:
                file.write(text)
        packed = shutil.make_archive(os.path.join(folder, "texts"), "zip", inside)
        with zipfile.ZipFile(packed) as archive:
            sizes = sorted((entry.filename, entry.file_size) for entry in archive.infolist() if not entry.is_dir())
            return sizes, archive.read("b.txt").decode()
