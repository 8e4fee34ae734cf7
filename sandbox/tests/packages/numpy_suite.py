"""Runs numpy's own tests below a folder of the package; they lie in the first `--python-path` directory."""


def f(name):
    import importlib
    import os
    import sys

    import numpy

    sys.dont_write_bytecode = True
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = "/tmp/hypothesis"
    for package in ("numpy", "numpy._core", "numpy.linalg", "numpy.fft", "numpy.random", "numpy.lib", "numpy.ma", "numpy.polynomial"):
        importlib.import_module(package).__path__.append("/path/0/" + package.replace(".", "/"))
    import pytest

    class Count:
        passed, failed = 0, []

        def pytest_runtest_logreport(self, report):
            if report.failed:
                self.failed.append(report.nodeid.partition("::")[2])
            elif report.when == "call" and report.passed:
                self.passed += 1

        def pytest_collectreport(self, report):
            if report.failed:
                self.failed.append(str(report.longrepr)[-300:])

    count = Count()
    quiet = "-p no:cacheprovider -p no:faulthandler -p no:unraisableexception -p no:threadexception -p no:hypothesispytest -qq -s"
    words = [*quiet.split(), "--assert=plain", "--tb=no", "--no-summary", "-m", "not slow", "-c", "/dev/null", "-W", "ignore"]
    pytest.main([*words, "--rootdir=/path/0", "--import-mode=importlib", f"/path/0/numpy/{name}/tests"], plugins=[count])
    return [count.passed, sorted(count.failed)]
