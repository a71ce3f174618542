"""Measures snapshots and clones of a 10 GiB volume, while a container writes to it, beside the filesystem's own command.

usage: ORLOP=target/release/orlop bench/snapshots.py [--rounds N] [btrfs|xfs|ext4 ...]

Each filesystem is in a sparse file below /var/tmp and is removed afterwards. On btrfs and XFS the files of the volume are
allocated, not written: what is shared is extents, whatever is in them. On ext4, where bytes are copied, there is 1 GiB of them.
"""

import argparse
import os
import re
import statistics
import subprocess
import time

ORLOP = os.path.abspath(os.environ["ORLOP"])
STATE = f"/var/tmp/orlop-bench-snapshots-{os.getpid()}"
BUSYBOX = os.environ.get("BUSYBOX_TAR", "target/busybox.tar")
FEW = (10, 1 << 30)
MANY = (100_000, 105_000)
WRITER = "while :; do echo line >>/data/log; usleep 20000; done"


def run(*words):
    return subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def timed(*words):
    start = time.perf_counter()
    ended = run(*words)
    return (time.perf_counter() - start) * 1000, ended


def fill(directory, shape, written):
    count, length = shape
    for number in range(count):
        below = f"{directory}/{number // 500}"
        if number % 500 == 0:
            os.makedirs(below, exist_ok=True)
        with open(f"{below}/{number}", "wb") as file:
            if written:
                block = os.urandom(min(length, 1 << 20))
                for _ in range(max(1, length // len(block))):
                    file.write(block)
            else:
                os.posix_fallocate(file.fileno(), 0, length)


class Place:
    """An engine on a filesystem of its own."""

    def __init__(self, kind):
        os.makedirs(STATE)
        self.root = STATE + "/root"
        os.makedirs(self.root)
        run("truncate", "-s", "40G", STATE + "/image")
        run(f"mkfs.{kind}", "-q", STATE + "/image")
        run("mount", "-o", "loop", STATE + "/image", self.root)
        self.command = [ORLOP, "--root", self.root]
        self.server = subprocess.Popen([ORLOP, "serve", "--root", self.root], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=open(STATE + "/log", "w"))
        while not os.path.exists(self.root + "/docker.sock"):
            time.sleep(0.05)
        self.orlop("import", BUSYBOX, "busybox")

    def orlop(self, *words):
        return run(*self.command, *words)

    def close(self):
        self.server.terminate()
        self.server.wait()
        run("umount", "-R", self.root)
        run("rm", "-rf", STATE)


def measure(place, volume, bare, rounds):
    """Medians in ms: frozen and whole time of a snapshot and of a clone, and the time of the bare command without and with a sync.

    Each of them begins after what the one before it made is deleted, and nothing is left to write."""
    results = {"frozen": [], "snapshot": [], "clone frozen": [], "clone": [], "bare": [], "durable": []}
    data = place.orlop("volume", "inspect", volume, "--format", "{{.Mountpoint}}").stdout.strip()

    def frozen(ended):
        found = re.search(r"frozen for ([0-9.]+) ms", ended.stderr)
        return float(found.group(1)) if found else 0.0

    def command(*words):
        run("sync", "-f", place.root)
        return timed(*words)

    for turn in range(rounds + 1):
        taken = {}
        taken["snapshot"], ended = command(*place.command, "volume", "snapshot", "create", "--name", "s", volume)
        taken["frozen"] = frozen(ended)
        place.orlop("volume", "snapshot", "rm", f"{volume}@s")
        taken["clone"], ended = command(*place.command, "volume", "clone", volume, "copy")
        taken["clone frozen"] = frozen(ended)
        place.orlop("volume", "rm", "--now", "copy")
        if bare:
            target = place.root + "/bare"
            taken["bare"], _ = command(*bare, os.path.realpath(data), target)
            # What survives a power cut, as what the engine has acknowledged does.
            synced, _ = timed("sync", "-f", place.root)
            taken["durable"] = taken["bare"] + synced
            if bare[0] == "btrfs":
                run("btrfs", "subvolume", "delete", target)
            else:
                run("rm", "-rf", target)
        if turn > 0:
            for name, value in taken.items():
                results[name].append(value)
    return {name: statistics.median(values) for name, values in results.items() if values}


def shown(milliseconds):
    if milliseconds is None:
        return "-"
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:.0f}"


def case(place, kind, name, shape, bare, rounds, options=()):
    volume = "data"
    place.orlop("volume", "create", *options, volume)
    data = place.orlop("volume", "inspect", volume, "--format", "{{.Mountpoint}}").stdout.strip()
    fill(data, shape, kind == "ext4")
    place.orlop("run", "-d", "--name", "writer", "-v", f"{volume}:/data", "busybox", "sh", "-c", WRITER)
    found = measure(place, volume, bare, rounds)
    order = ("frozen", "snapshot", "clone frozen", "clone", "bare", "durable")
    print(f"| {kind}, {name} | " + " | ".join(shown(found.get(what)) for what in order) + " |", flush=True)
    place.orlop("rm", "-f", "writer")
    place.orlop("volume", "rm", "--now", volume)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("kinds", nargs="*", default=["btrfs", "xfs", "ext4"])
    arguments = parser.parse_args()
    print("| volume | frozen, snapshot | snapshot | frozen, clone | clone | the bare command | with a sync |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for kind in arguments.kinds or ["btrfs", "xfs", "ext4"]:
        place = Place(kind)
        try:
            bare = {"btrfs": ("btrfs", "subvolume", "snapshot", "-r"), "xfs": ("cp", "-a", "--reflink=always"),
                    "ext4": ("cp", "-a", "--reflink=auto")}[kind]
            if kind == "ext4":
                case(place, kind, "1 GiB in 10 files", (10, 1 << 27), bare, max(3, arguments.rounds // 3))
                case(place, kind, "1 GiB in 10,000 files", (10_000, 105_000), bare, max(3, arguments.rounds // 3))
                continue
            case(place, kind, "10 GiB in 10 files", FEW, bare, arguments.rounds)
            case(place, kind, "10 GiB in 100,000 files", MANY, bare, arguments.rounds)
            if kind == "xfs":
                image = ("--size", "14g", "--opt", "image=true")
                case(place, kind, "10 GiB in 100,000 files in an image", MANY, None, arguments.rounds, image)
        finally:
            place.close()


main()
