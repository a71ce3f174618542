"""Measures backups of a volume of 5 GB with 100,000 small files beside Debian's restic and borg, on the same bytes.

usage: ORLOP=target/release/orlop bench/backups.py [--rounds N] [--filesystem ext4|btrfs|xfs] [--small FILES] [--large FILES] [--cold]

Data, repositories and restored copies are on one filesystem in a sparse file below /var/tmp, which is removed afterwards. Half of
the bytes can be compressed. restic and borg read the volume's directory where it is; each program has the cache it wants. Every
step begins with what was written before on the disk, and with what it is going to read in memory, or with --cold with nothing of
it: otherwise whoever is first would read for those who follow. The programs take turns in who is first. Each measure is printed when
it was made: wall-clock seconds, processor seconds, peak memory; the table of medians comes after each round, the last one counts.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

ORLOP = os.path.abspath(os.environ["ORLOP"])
STATE = f"/var/tmp/orlop-bench-backups-{os.getpid()}"
DISK = STATE + "/disk"
PASSWORD = "bench"
SMALL_BYTES, LARGE_BYTES, PER_DIRECTORY = 10_000, 256 << 20, 250
TICKS = os.sysconf("SC_CLK_TCK")
ENVIRONMENT = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "BORG_PASSPHRASE": PASSWORD, "ORLOP_BACKUP_PASSWORD": PASSWORD,
               "RESTIC_CACHE_DIR": DISK + "/restic-cache", "BORG_BASE_DIR": DISK + "/borg-base"}


def run(*words, **more):
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=ENVIRONMENT, **more)
    if ended.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: {ended.stderr.strip()[-2000:]}")
    return ended


def content(dice, length):
    """Half of it repeats: as programs and pages of databases do."""
    half = dice.randbytes(length // 2)
    return half + (half[:64] * (length // 128 + 1))[:length - len(half)]


def small(directory, number):
    return f"{directory}/small/{number // PER_DIRECTORY}/{number}"


def fill(directory, files):
    dice = random.Random(1)
    for number in range(files.small):
        if number % PER_DIRECTORY == 0:
            os.makedirs(os.path.dirname(small(directory, number)))
        with open(small(directory, number), "wb") as file:
            file.write(content(dice, dice.randrange(200, 2 * SMALL_BYTES)))
    os.makedirs(directory + "/large")
    for number in range(files.large):
        with open(f"{directory}/large/{number}", "wb") as file:
            for _ in range(LARGE_BYTES >> 22):
                file.write(content(dice, 4 << 20))


def change(directory, files, turn):
    """One in a hundred of the small files, all over the tree, and a hundredth of each large one in one place."""
    dice = random.Random(1000 + turn)
    for number in range(turn, files.small, 100):
        with open(small(directory, number), "wb") as file:
            file.write(content(dice, dice.randrange(200, 2 * SMALL_BYTES)))
    for number in range(files.large):
        with open(f"{directory}/large/{number}", "r+b") as file:
            file.seek(dice.randrange(LARGE_BYTES - LARGE_BYTES // 100))
            file.write(content(dice, LARGE_BYTES // 100))


class Measure:
    """A command from its start to its end; what it took of the processors, and the most memory it had."""

    def __init__(self, words):
        start = time.perf_counter()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   env=ENVIRONMENT)
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        self.seconds = time.perf_counter() - start
        if status != 0:
            raise SystemExit(f"{' '.join(words)}: {said.decode(errors='replace')[-2000:]}")
        self.processor = used.ru_utime + used.ru_stime
        self.peak = used.ru_maxrss / 1024


class Orlop:
    name = "orlop"

    def __init__(self):
        self.root = DISK + "/root"
        self.command = [ORLOP, "--root", self.root]
        self.server = subprocess.Popen([ORLOP, "serve", "--root", self.root], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=open(STATE + "/log", "w"))
        while not os.path.exists(self.root + "/docker.sock"):
            time.sleep(0.05)
        run(*self.command, "volume", "create", "data")
        self.data = os.path.realpath(run(*self.command, "volume", "inspect", "data", "--format", "{{.Mountpoint}}").stdout.strip())

    def used(self):
        with open(f"/proc/{self.server.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def measure(self, *words):
        """The engine does the work: what it takes is added to the client's."""
        with open(f"/proc/{self.server.pid}/clear_refs", "w") as file:
            file.write("5")
        before = self.used()
        measure = Measure([*self.command, *words])
        measure.processor += self.used() - before
        with open(f"/proc/{self.server.pid}/status") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
        measure.peak += int(line.split()[1]) / 1024
        return measure

    def init(self, turn):
        self.repository = f"{DISK}/orlop-{turn}"
        run(*self.command, "backup", "init", f"r{turn}", self.repository)
        self.repository_name = f"r{turn}"

    def save(self):
        return self.measure("volume", "backup", "data", "--to", self.repository_name)

    def restore(self):
        measure = self.measure("volume", "restore", f"{self.repository_name}:data", "--as", "back")
        run(*self.command, "volume", "rm", "--now", "back")
        return measure

    def close(self):
        self.server.terminate()
        self.server.wait()


class Restic:
    name = "restic"

    def __init__(self, data):
        self.data = data

    def init(self, turn):
        self.repository = f"{DISK}/restic-{turn}"
        run("restic", "-q", "-r", self.repository, "init")

    def save(self):
        return Measure(["restic", "-q", "-r", self.repository, "backup", self.data])

    def restore(self):
        measure = Measure(["restic", "-q", "-r", self.repository, "restore", "latest", "--target", DISK + "/back"])
        shutil.rmtree(DISK + "/back")
        return measure

    def close(self):
        pass


class Borg:
    name = "borg"

    def __init__(self, data):
        self.data = data
        self.count = 0

    def init(self, turn):
        self.repository = f"{DISK}/borg-{turn}"
        run("borg", "init", "-e", "repokey", self.repository)

    def save(self):
        self.count += 1
        return Measure(["borg", "create", "-C", "zstd", f"{self.repository}::a{self.count}", self.data])

    def restore(self):
        os.makedirs(DISK + "/back")
        start = os.getcwd()
        os.chdir(DISK + "/back")
        measure = Measure(["borg", "extract", f"{self.repository}::a{self.count}"])
        os.chdir(start)
        shutil.rmtree(DISK + "/back")
        return measure

    def close(self):
        pass


def settle(files):
    """What was written and removed before is no work for what is measured next."""
    if files.filesystem == "btrfs":
        run("btrfs", "subvolume", "sync", DISK)
    run("sync", "-f", DISK)


def cache(directory, files):
    """Everyone finds as much in memory: what is below `directory`, or nothing."""
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")
    if not files.cold:
        run("tar", "-C", directory, "-cf", "/dev/zero", ".")


def table(found):
    names = list(next(iter(found.values())))
    print("\n| case | " + " | ".join(f"{name} s" for name in names) + " | "
          + " | ".join(f"orlop / {name}" for name in names[1:]) + f" | processor s: {', '.join(names)} "
          + f"| peak MB: {', '.join(names)} |\n" + "|---" * (len(names) * 2 + 2) + "|")
    for case, measures in found.items():
        def median(what):
            return [statistics.median(getattr(measure, what) for measure in measures[name]) for name in names]
        seconds = median("seconds")
        peaks = [max(measure.peak for measure in measures[name]) for name in names]
        print(f"| {case} | " + " | ".join(f"{one:.2f}" for one in seconds) + " | "
              + " | ".join(f"{seconds[0] / one:.3f}" for one in seconds[1:]) + " | "
              + ", ".join(f"{one:.1f}" for one in median("processor")) + " | "
              + ", ".join(f"{one:.0f}" for one in peaks) + " |")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--filesystem", choices=["ext4", "btrfs", "xfs"], default="ext4")
    parser.add_argument("--small", type=int, default=100_000, help="files of 10 kB on average")
    parser.add_argument("--large", type=int, default=16, help="files of 256 MiB")
    parser.add_argument("--cold", action="store_true", help="nothing is in memory when a step begins")
    parser.add_argument("--without", choices=["restic", "borg"], action="append", default=[])
    files = parser.parse_args()
    # Whoever ends it early gets the disk back, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.makedirs(DISK)
    run("truncate", "-s", "32G", STATE + "/image")
    run(f"mkfs.{files.filesystem}", "-q", STATE + "/image")
    # Otherwise the machine would keep everything in memory twice, and soon nothing of it.
    device = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", STATE + "/image"], check=True,
                            stdout=subprocess.PIPE, text=True).stdout.strip()
    run("mount", device, DISK)
    tools = []
    try:
        tools.append(Orlop())
        data = tools[0].data
        tools += [tool(data) for tool in (Restic, Borg) if tool.name not in files.without]
        fill(data, files)
        size = files.small * SMALL_BYTES + files.large * LARGE_BYTES
        print(f"{files.filesystem}, {files.small} small files and {files.large} large ones, {size / 1e9:.1f} GB; load "
              f"{os.getloadavg()[0]:.1f}", flush=True)
        found = {}

        def step(case, tool, work, reads):
            settle(files)
            cache(reads, files)
            measure = work()
            found.setdefault(case, {}).setdefault(tool.name, []).append(measure)
            print(f"{case:22} {tool.name:7} {measure.seconds:7.2f} s  processor {measure.processor:6.2f} s  "
                  f"peak {measure.peak:5.0f} MB  load {os.getloadavg()[0]:.1f}", flush=True)

        for turn in range(files.rounds):
            order = tools[turn % len(tools):] + tools[:turn % len(tools)]
            # The table begins with orlop whoever went first.
            for tool in tools if turn == 0 else order:
                tool.init(turn)
                step("first backup", tool, tool.save, data)
            for tool in order:
                step("nothing changed", tool, tool.save, data)
            change(data, files, turn)
            for tool in order:
                step("1 % changed", tool, tool.save, data)
            for tool in order:
                step("restore", tool, tool.restore, tool.repository)
            table(found)
            for tool in tools:
                shutil.rmtree(tool.repository)
            settle(files)
            run("fstrim", DISK)
    finally:
        for tool in tools:
            tool.close()
        run("umount", "-R", DISK)
        run("losetup", "--detach", device)
        shutil.rmtree(STATE)


main()
