"""Measures `volume move --stop` between two btrfs while a container writes: by checksummed differences, and by streams of btrfs;
and what a person would do by hand with Debian's rsync: once while the container runs, once after it was stopped.

usage: ORLOP=target/release/orlop bench/moving.py [--rounds N] [--without rsync]

Both filesystems are in sparse files below /var/tmp and are removed afterwards. The program hands on what one engine says to the
other by itself, as `orlop` does: whether it lets streams through is all the difference between the two. The pause is from the
end of the container to the end of the move, which is on disk then: rsync is followed by a sync. In every round each of them does
the same once, from a volume that the rounds before have left.
"""

import argparse
import datetime
import os
import re
import socket
import statistics
import subprocess
import threading
import time

ORLOP = os.path.abspath(os.environ["ORLOP"])
STATE = f"/var/tmp/orlop-bench-moving-{os.getpid()}"
BUSYBOX = os.environ.get("BUSYBOX_TAR", "target/busybox.tar")
FILES, LENGTH, LARGE = 20_000, 20_000, 512 << 20
# Appends, changes a block somewhere in a large file, and moves directories about.
WRITER = """trap 'exit 0' TERM; cd /data; i=0; while :; do i=$((i+1)); echo $i >> log
dd if=/dev/urandom of=large bs=4k count=1 seek=$(((i * 7919) % 131072)) conv=notrunc 2>/dev/null
mv $((i % 40)) away; mv away $((i % 40)); usleep 5000; done"""


def run(*words):
    return subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout.strip()


class Place:
    """An engine on a filesystem of its own."""

    def __init__(self, name):
        self.root = f"{STATE}/{name}"
        os.makedirs(self.root)
        run("truncate", "-s", "8G", self.root + ".image")
        run("mkfs.btrfs", "-q", self.root + ".image")
        run("mount", "-o", "loop", self.root + ".image", self.root)
        self.server = subprocess.Popen([ORLOP, "serve", "--root", self.root], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=open(self.root + ".log", "w"))
        self.command = [ORLOP, "--root", self.root]
        self.socket = self.root + "/docker.sock"
        while not os.path.exists(self.socket):
            time.sleep(0.05)

    def orlop(self, *words):
        return run(*self.command, *words)

    def upgrade(self, path):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.socket)
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                           "Content-Length: 0\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert b" 101 " in head.split(b"\r\n")[0], head
        return connection

    def close(self):
        self.server.terminate()
        self.server.wait()
        run("umount", "-R", self.root)


def hand_on(source, target, said):
    """What it hands on is counted; the end of it is kept, where the reason is when there is one."""
    while data := source.recv(1 << 20):
        said[0] += len(data)
        said[1] = data[-200:]
        try:
            target.sendall(data)
        except BrokenPipeError:
            pass
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def move(here, there, streams):
    """Seconds, seconds of the pause, bytes that were sent."""
    start = time.time()
    source = here.upgrade("/orlop/v1/volumes/data/send?move=1&stop=1")
    target = there.upgrade("/orlop/v1/receive" + ("?streams=1" if streams else ""))
    sent, heard = [0, b""], [0, b""]
    back = threading.Thread(target=hand_on, args=(target, source, heard))
    back.start()
    hand_on(source, target, sent)
    back.join()
    end = time.time()
    assert there.orlop("volume", "ls", "-q") == "data", (sent[1], heard[1])
    return end - start, end - ended(here), sent[0]


def ended(here):
    """When the container did."""
    said = here.orlop("inspect", "--format", "{{.State.FinishedAt}}", "writer")
    return datetime.datetime.fromisoformat(said[:26].rstrip("Z") + "+00:00").timestamp()


def rsync(here, there):
    """As [`move`]. What is sent is compared in blocks, as over a network, and believed by size and time."""
    source, target = here.root + "/volumes/data/_data/", there.root + "/rsync/"
    words = ["rsync", "-aHAX", "--numeric-ids", "--delete", "--no-whole-file", "--stats", source, target]
    sent = 0
    start = time.time()
    for last in (False, True):
        if last:
            here.orlop("stop", "writer")
        # What vanishes under its eyes is an error to it.
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode in ((0,) if last else (0, 23, 24)), done.stderr
        sent += int(re.search(r"Total bytes sent: ([\d,]+)", done.stdout)[1].replace(",", ""))
    run("sync", "-f", target)
    end = time.time()
    pause = end - ended(here)
    run("rm", "-rf", target)
    return end - start, pause, sent


def fill(directory):
    for number in range(FILES):
        below = f"{directory}/{number // 500}"
        if number % 500 == 0:
            os.makedirs(below)
        with open(f"{below}/{number}", "wb") as file:
            file.write(os.urandom(LENGTH))
    with open(f"{directory}/large", "wb") as file:
        for _ in range(LARGE >> 20):
            file.write(os.urandom(1 << 20))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", choices=["rsync"])
    arguments = parser.parse_args()
    rivals = {
        "differences": lambda here, there: move(here, there, False),
        "streams of btrfs": lambda here, there: move(here, there, True),
    }
    if arguments.without != "rsync":
        rivals["rsync, twice"] = rsync
    here, there = Place("here"), Place("there")
    try:
        here.orlop("import", BUSYBOX, "busybox")
        here.orlop("volume", "create", "data")
        fill(here.root + "/volumes/data/_data")
        taken = {name: [] for name in rivals}
        for _ in range(arguments.rounds):
            for name, rival in rivals.items():
                here.orlop("run", "-d", "--name", "writer", "-v", "data:/data", "busybox", "sh", "-c", WRITER)
                time.sleep(2)
                taken[name].append(rival(here, there))
                here.orlop("rm", "writer")
                if rival is not rsync:
                    there.orlop("volume", "rm", "--now", "data")
                    here.orlop("volume", "undelete", "data")
        print("| | whole, s | pause, s | sent, MB |\n|---|---|---|---|")
        for name, rows in taken.items():
            whole, pause, sent = (statistics.median(column) for column in zip(*rows))
            print(f"| {name} | {whole:.1f} | {pause:.2f} | {sent / 1e6:.0f} |")
    finally:
        subprocess.run([*here.command, "rm", "-f", "writer"], capture_output=True)
        here.close()
        there.close()
        run("rm", "-rf", STATE)


main()
