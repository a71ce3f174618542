"""Sends the same requests to orlop and to Debian's dockerd and compares status, headers and bodies, field by field.

A value is compared with its type; where it differs by nature (ids, times, paths) only the type is. What differs and may is in
`differences.txt`, with the reason; a line of it that explains nothing is a failure, too, so the list stays short.

usage: main.py [GLOB]    only the groups of requests whose name fits; prints every difference and does not look for idle lines
"""

import fnmatch
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile

import table
import wire

HERE = pathlib.Path(__file__).parent
# A version that both speak.
VERSION = "v1.45"

# Values that are never the same in two engines: (last key of the path, or a pattern of the whole path).
CHANCE = re.compile(
    r"""(^|/)(Id|ID|Created|CreatedAt|StartedAt|FinishedAt|Pid|ExitedAt|ResolvConfPath|HostnamePath|HostsPath|LogPath
    |SandboxID|SandboxKey|EndpointID|NetworkID|MacAddress|Mountpoint|Source|time|timeNano|mtime|Start|End|ContainerID
    |CreateTime|LastUsedAt|SystemTime|NFd|NGoroutines|NEventsListener|MemTotal|ContainersRunning|read|preread|LastTagTime
    |Parent|IPAddress|RootFS/Layers/1|stats/\w+|usage|max_usage|total_usage|percpu_usage.*|usage_in_\w+|system_cpu_usage
    |periods|throttled_\w+|[rt]x_(bytes|packets)|Processes/\d+/[1-6]|GraphDriver/Data/\w+|SpaceReclaimed|value|DockerVersion)$""", re.VERBOSE)
# Lists that have no order of their own.
UNORDERED = {"Mounts": "Destination", "Volumes": "Name", "VolumesDeleted": None, "ContainersDeleted": None, "ImagesDeleted": None}


class Engine:
    """One of the two; `names` are the values it chose itself (ids), by the name that the table gives them."""

    def __init__(self, name, socket):
        self.name = name
        self.socket = socket
        self.names = {}

    def fill(self, text):
        return re.sub(r"\{(\w+)\}", lambda match: self.names.get(match[1], match[0]), text)

    def fill_all(self, value):
        if isinstance(value, str):
            return self.fill(value)
        if isinstance(value, dict):
            return {self.fill(key): self.fill_all(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill_all(inner) for inner in value]
        return value

    def plain(self, text):
        """Its own values are replaced by their names, ids that nobody named and its directory by a common word."""
        for name, value in sorted(self.names.items(), key=lambda item: -len(item[1])):
            text = text.replace(value, f"<{name}>")
            if len(value) == 64:
                text = text.replace(value[:12], f"<{name}:12>")
        text = re.sub(r"\b(\d+ seconds?|Less than a second|About a minute)\b", "N seconds", text)
        return re.sub(r"\b[0-9a-f]{64}\b", "<id>", text.replace(os.path.dirname(self.socket), "<root>"))

    def send(self, step):
        target = self.fill(step.target)
        if step.version is None:
            target = f"/{VERSION}{target}"
        elif step.version:
            target = f"/{step.version}{target}"
        return wire.ask(self.socket, step.method, target, self.fill_all(step.body), step.headers)


class Differences:
    """The explained ones: lines `request | path | reason`, both globs."""

    def __init__(self, path):
        self.rules = []
        for line in path.read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                request, where, reason = (part.strip() for part in line.split("|", 2))
                self.rules.append([request, where, reason, 0])

    def explains(self, request, where):
        for rule in self.rules:
            if fnmatch.fnmatchcase(request, rule[0]) and fnmatch.fnmatchcase(where, rule[1]):
                rule[3] += 1
                return True
        return False

    def idle(self):
        return [f"{rule[0]} | {rule[1]}" for rule in self.rules if not rule[3]]


def kind(value):
    return {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}.get(
        type(value), "null")


def compare(where, ours, theirs, found, engines):
    """Appends (path, ours, theirs) for everything that differs."""
    if kind(ours) != kind(theirs):
        found.append((where, ours, theirs))
    elif isinstance(ours, dict):
        ours = {engines[0].plain(key): value for key, value in ours.items()}
        theirs = {engines[1].plain(key): value for key, value in theirs.items()}
        for key in sorted(ours.keys() | theirs.keys()):
            inner = f"{where}/{key}"
            if key not in ours:
                found.append((inner, "absent", theirs[key]))
            elif key not in theirs:
                found.append((inner, ours[key], "absent"))
            else:
                compare(inner, ours[key], theirs[key], found, engines)
    elif CHANCE.search(where):
        return
    elif isinstance(ours, list):
        key = where.rsplit("/", 1)[-1]
        if key in UNORDERED:
            field = UNORDERED[key]
            for values in (ours, theirs):
                values.sort(key=lambda value: str(value.get(field)) if isinstance(value, dict) else str(value))
        if len(ours) != len(theirs):
            found.append((f"{where}#", ours, theirs))
            return
        for index, (left, right) in enumerate(zip(ours, theirs)):
            compare(f"{where}/{index}", left, right, found, engines)
    elif isinstance(ours, str):
        if engines[0].plain(ours) != engines[1].plain(theirs):
            found.append((where, ours, theirs))
    elif ours != theirs:
        found.append((where, ours, theirs))


def run_group(engines, steps, differences):
    """Every step on both; the unexplained differences as text."""
    report = []
    for step in steps:
        answers = []
        for engine in engines:
            if step.until:
                answers.append(wire.until(
                    f"{engine.name}: {step.name}", lambda: (lambda answer: answer if step.until(answer) else None)(engine.send(step))))
            else:
                answers.append(engine.send(step))
            if step.save:
                for name, path in step.save.items():
                    value = answers[-1][2]
                    for key in path:
                        value = value[key] if isinstance(value, (dict, list)) and (
                            key in value if isinstance(value, dict) else len(value) > key) else ""
                    if value:
                        engine.names[name] = value
        if step.sort:
            for _, _, body in answers:
                if isinstance(body, list):
                    body.sort(key=step.sort)
        found = []
        for part, ours, theirs in zip(("status", "header", "body"), *answers):
            if part not in step.parts:
                continue
            if part == "status" and ours != theirs:
                found.append((f"status {ours} instead of {theirs}", ours, theirs))
            elif part != "status":
                compare(part, ours, theirs, found, engines)
        for where, ours, theirs in found:
            if not differences.explains(step.name, where):
                report.append(f"{step.name} | {where}\n    orlop:   {show(ours)}\n    dockerd: {show(theirs)}")
    return report


def show(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 400 else text[:400] + "…"


def image(layer):
    """An archive of one image as `docker save` writes it: the same id in every engine that loads it."""
    import hashlib
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05.6Z", "author": "somebody",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=b"], "Cmd": ["sh"],
            "Labels": {"made.by": "the suite"}, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/declared": {}},
            "WorkingDir": "/tmp", "StopSignal": "SIGINT",
        },
        "history": [{"created": "2026-01-02T03:04:05.6Z", "created_by": "ADD busybox", "comment": "one layer"}],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }).encode()
    name = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": f"{name}.json", "RepoTags": ["busybox:latest"], "Layers": ["layer.tar"]}]).encode()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for path, content in ((f"{name}.json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def main():
    only = sys.argv[1] if len(sys.argv) > 1 else None
    scratch = pathlib.Path(os.environ["SCRATCH"])
    peer_directory = scratch / "peer"
    log = open(scratch / "peer.log", "wb")
    peer = subprocess.Popen(
        [HERE / "peer", os.path.join(os.environ["CLIENTS"], "trixie"), peer_directory], stdout=log, stderr=log)
    try:
        sockets = os.environ["ENGINE_ROOT"] + "/docker.sock", str(peer_directory / "docker.sock")
        try:
            wire.until("dockerd answers", lambda: answers(sockets[1], peer))
        except AssertionError as error:
            print((scratch / "peer.log").read_text()[-3000:])
            # Not every host lets a dockerd run: what is compared with must be there.
            print(f"test differential ... ignored, no dockerd here: {error}\n\ntest result: ok. 0 passed; 0 failed; 1 ignored")
            return 0
        engines = [Engine("orlop", sockets[0]), Engine("dockerd", sockets[1])]
        archive = image((pathlib.Path(os.environ["IMAGES"]) / "busybox.tar").read_bytes())
        # Both begin with this one image, whatever they had.
        wire.ask(sockets[0], "DELETE", "/images/busybox")
        for engine in engines:
            status, _, body = wire.ask(engine.socket, "POST", "/images/load", archive, {"Content-Type": "application/x-tar"})
            assert status == 200 and "Loaded image" in str(body), body
        return compare_all(engines, only)
    finally:
        peer.terminate()
        peer.wait(60)


def answers(socket, peer):
    if peer.poll() is not None:
        raise AssertionError(f"it ended with {peer.returncode}")
    try:
        return wire.ask(socket, "GET", "/_ping")[0] == 200
    except OSError:
        return False


def compare_all(engines, only):
    differences = Differences(HERE / "differences.txt")
    failed = []
    passed = 0
    requests = 0
    for name, steps in table.GROUPS.items():
        if only and not fnmatch.fnmatchcase(name, only):
            continue
        for engine in engines:
            engine.names.clear()
        try:
            report = run_group(engines, steps, differences)
        except (AssertionError, OSError, ValueError, LookupError, TypeError) as error:
            report = [f"{type(error).__name__}: {error}"]
        requests += len(steps)
        print(f"test differential::{name} ... {'FAILED' if report else 'ok'}", flush=True)
        if report:
            failed.append(name)
            print("\n".join(report), flush=True)
        else:
            passed += 1
    if not only:
        idle = differences.idle()
        print(f"test differential::every_explained_difference_is_there ... {'FAILED' if idle else 'ok'}")
        for rule in idle:
            failed.append("idle")
            print(f"explains nothing: {rule}")
        passed += not idle
    print(f"\n{requests} requests, {sum(rule[3] for rule in differences.rules)} explained differences")
    print(f"\ntest result: {'FAILED' if failed else 'ok'}. {passed} passed; {len(failed)} failed; 0 ignored (differential)")
    return 1 if failed else 0


sys.exit(main())
