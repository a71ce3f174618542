"""Runs one of the Python suites with pytest and reports as cargo's tests do.

usage: main.py SUITE [WORD]    WORD: only the tests whose name has it
"""

import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent


class Report:
    """A line for each test as it ends, what failed in full, and the sum."""

    def __init__(self, suite):
        self.suite = suite
        self.passed = self.failed = self.ignored = 0

    def pytest_report_teststatus(self):
        # Instead of pytest's own dots.
        return "", "", ""

    def pytest_runtest_logreport(self, report):
        name = f"{self.suite}::{report.nodeid.split('::', 1)[-1]}"
        if report.failed:
            self.failed += 1
            print(f"test {name} ... FAILED\n{report.longreprtext}\n{report.capstdout}", flush=True)
        elif report.skipped:
            self.ignored += 1
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            print(f"test {name} ... ignored, {reason}", flush=True)
        elif report.when == "call":
            self.passed += 1
            print(f"test {name} ... ok", flush=True)

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed += 1
            print(f"test {self.suite}::{report.nodeid} ... FAILED\n{report.longreprtext}", flush=True)

    def pytest_sessionfinish(self):
        word = "FAILED" if self.failed else "ok"
        print(f"\ntest result: {word}. {self.passed} passed; {self.failed} failed; {self.ignored} ignored ({self.suite})")


def main():
    suite = sys.argv[1]
    arguments = ["-p", "no:cacheprovider", "-qq", "--no-header", "--no-summary", "--color=no", "-o", "faulthandler_timeout=60", "-o", "python_files=*.py", "-c", os.devnull, "--rootdir", str(HERE)]
    if len(sys.argv) > 2:
        arguments += ["-k", sys.argv[2]]
    if suite == "docker_py_own":
        import upstream
        arguments += upstream.arguments()
        plugins = [Report(suite), upstream]
    else:
        arguments.append(str(HERE / f"{suite}.py"))
        plugins = [Report(suite)]
    sys.exit(pytest.main(arguments, plugins))


sys.path.insert(0, str(HERE))
main()
