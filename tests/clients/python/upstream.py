"""The tests that docker-py itself has for a real engine, from the last of its source packages that carries them.

`upstream.txt` says what of them is left out and why. They name images of Docker Hub; these names are given to ours.
"""

import fnmatch
import os
import pathlib
import sys
import types

import docker
import pytest

HERE = pathlib.Path(__file__).parent
TESTS = pathlib.Path(os.environ["CLIENTS"]) / "docker-7.0.0" / "tests"
# What the tests call the image that they run everything in.
NAMES = ["alpine:3.10", "alpine:latest"]


def arguments():
    # Their helpers import it for engines behind ssh, which are left out.
    sys.modules.setdefault("paramiko", types.ModuleType("paramiko"))
    # Their package is `tests`.
    sys.path.insert(0, str(TESTS.parent))
    # What Python says of sockets that a client left open is not about the engine.
    return ["-p", "no:warnings", "-p", "no:unraisableexception", "-p", "no:threadexception", "--rootdir", str(TESTS.parent), str(TESTS / "integration")]


def left_out():
    rules = []
    for line in (HERE / "upstream.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, reason = (part.strip() for part in line.split("|", 1))
            rules.append((name, reason))
    return rules


def pytest_sessionstart(session):
    client = docker.from_env()
    for name in NAMES:
        repository, tag = name.split(":")
        client.images.get("busybox").tag(repository, tag)


def pytest_collection_modifyitems(config, items):
    """What is left out is not run, and not counted as skipped: it is nothing that could be had elsewhere."""
    rules = left_out()
    chosen, dropped, used = [], [], set()
    for item in items:
        name = item.nodeid.split("integration/", 1)[-1]
        rule = next((rule for rule in rules if fnmatch.fnmatchcase(name, rule[0])), None)
        if rule is None:
            chosen.append(item)
        else:
            used.add(rule)
            dropped.append(item)
    idle = [rule[0] for rule in rules if rule not in used]
    if idle and not config.option.keyword:
        raise pytest.UsageError(f"upstream.txt leaves out what there is not: {idle}")
    config.hook.pytest_deselected(items=dropped)
    items[:] = chosen
