"""Measures backups of a volume of 5 GB with 100,000 small files beside Debian's restic and borg, on the same bytes.

usage: ORLOP=target/release/orlop bench/backups.py [--rounds N]

Data, repositories and restored copies are on one ext4 in a sparse file below /var/tmp, which is removed afterwards. Half of the
bytes can be compressed. restic and borg read the volume's directory where it is; each program has the cache it wants. Every
step begins with what was written before on the disk, and in the order of the table the programs take turns.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import time

ORLOP = os.path.abspath(os.environ["ORLOP"])
STATE = f"/var/tmp/orlop-bench-backups-{os.getpid()}"
DISK = STATE + "/disk"
PASSWORD = "bench"
SMALL, SMALL_BYTES = 100_000, 10_000
LARGE, LARGE_BYTES = 16, 256 << 20
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


def fill(directory):
    dice = random.Random(1)
    for number in range(SMALL):
        below = f"{directory}/small/{number // 250}"
        if number % 250 == 0:
            os.makedirs(below)
        with open(f"{below}/{number}", "wb") as file:
            file.write(content(dice, dice.randrange(200, 2 * SMALL_BYTES)))
    os.makedirs(directory + "/large")
    for number in range(LARGE):
        with open(f"{directory}/large/{number}", "wb") as file:
            for _ in range(LARGE_BYTES >> 22):
                file.write(content(dice, 4 << 20))


def change(directory, turn):
    """One in a hundred of the small files, and a hundredth of each large one in one place."""
    dice = random.Random(1000 + turn)
    for number in range(turn, SMALL, 100):
        with open(f"{directory}/small/{number // 250}/{number}", "wb") as file:
            file.write(content(dice, dice.randrange(200, 2 * SMALL_BYTES)))
    for number in range(LARGE):
        with open(f"{directory}/large/{number}", "r+b") as file:
            file.seek(dice.randrange(LARGE_BYTES - LARGE_BYTES // 100))
            file.write(content(dice, LARGE_BYTES // 100))


def measured(words):
    """Seconds and the peak of resident memory in MB of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT)
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(words)}: {said.decode(errors='replace')[-2000:]}")
    return time.perf_counter() - start, used.ru_maxrss / 1024


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

    def peak(self, words):
        """The engine does the work; its own memory counts."""
        with open(f"/proc/{self.server.pid}/clear_refs", "w") as file:
            file.write("5")
        seconds, _ = measured(words)
        with open(f"/proc/{self.server.pid}/status") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
        return seconds, int(line.split()[1]) / 1024

    def init(self, turn):
        self.repository = f"{DISK}/orlop-{turn}"
        run(*self.command, "backup", "init", f"r{turn}", self.repository)
        self.repository_name = f"r{turn}"

    def save(self):
        return self.peak([*self.command, "volume", "backup", "data", "--to", self.repository_name])

    def restore(self):
        measure = self.peak([*self.command, "volume", "restore", f"{self.repository_name}:data", "--as", "back"])
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
        return measured(["restic", "-q", "-r", self.repository, "backup", self.data])

    def restore(self):
        measure = measured(["restic", "-q", "-r", self.repository, "restore", "latest", "--target", DISK + "/back"])
        shutil.rmtree(DISK + "/back")
        return measure


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
        return measured(["borg", "create", "-C", "zstd", f"{self.repository}::a{self.count}", self.data])

    def restore(self):
        os.makedirs(DISK + "/back")
        start = os.getcwd()
        os.chdir(DISK + "/back")
        measure = measured(["borg", "extract", f"{self.repository}::a{self.count}"])
        os.chdir(start)
        shutil.rmtree(DISK + "/back")
        return measure


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    os.makedirs(DISK)
    run("truncate", "-s", "60G", STATE + "/image")
    run("mkfs.ext4", "-q", STATE + "/image")
    run("mount", "-o", "loop,discard", STATE + "/image", DISK)
    orlop = None
    try:
        orlop = Orlop()
        tools = [orlop, Restic(orlop.data), Borg(orlop.data)]
        fill(orlop.data)
        found = {}

        def step(name, tool, work):
            run("sync", "-f", DISK)
            found.setdefault(name, {}).setdefault(tool.name, []).append(work())

        for turn in range(rounds):
            for tool in tools:
                tool.init(turn)
                step("first backup of 5 GB", tool, tool.save)
            for tool in tools:
                step("again, nothing changed", tool, tool.save)
            change(orlop.data, turn)
            for tool in tools:
                step("again, 1 % changed", tool, tool.save)
            for tool in tools:
                step("restore", tool, tool.restore)
            for tool in tools:
                shutil.rmtree(tool.repository)
            tools = tools[1:] + tools[:1]
        print("| case | orlop s | restic s | borg s | orlop / restic | orlop / borg | peak MB: orlop, restic, borg |")
        print("|---|---|---|---|---|---|---|")
        for name, times in found.items():
            seconds = {tool: statistics.median(value[0] for value in values) for tool, values in times.items()}
            peak = {tool: max(value[1] for value in values) for tool, values in times.items()}
            print(f"| {name} | {seconds['orlop']:.2f} | {seconds['restic']:.2f} | {seconds['borg']:.2f} | "
                  f"{seconds['orlop'] / seconds['restic']:.3f} | {seconds['orlop'] / seconds['borg']:.3f} | "
                  f"{peak['orlop']:.0f}, {peak['restic']:.0f}, {peak['borg']:.0f} |", flush=True)
    finally:
        if orlop:
            orlop.close()
        run("umount", "-R", DISK)
        shutil.rmtree(STATE)


main()
