"""Measures lists of 10,000 volumes, and the start of an engine that has them, beside Docker's `volume ls` on as many.

usage: ORLOP=target/release/orlop bench/many_volumes.py [--rounds N] [--volumes N]

Docker finds its volumes as directories when it starts, so they are made as such.
"""

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import time

ORLOP = os.path.abspath(os.environ["ORLOP"])
DOCKER = os.environ.get("DOCKER_BIN", "docker")
DOCKERD = os.environ.get("DOCKERD_BIN", "dockerd")
STATE = f"/var/tmp/orlop-bench-volumes-{os.getpid()}"
ROOT, DATA = STATE + "/orlop", STATE + "/docker"


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


def answers(path):
    for _ in range(6000):
        try:
            connection = Connection(path)
            connection.request("GET", "/_ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.005)
    raise SystemExit(f"nobody answers on {path}")


def serve_orlop():
    start = time.perf_counter()
    server = subprocess.Popen([ORLOP, "serve", "--root", ROOT], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=open(STATE + "/orlop.log", "a"))
    answers(ROOT + "/docker.sock")
    return server, (time.perf_counter() - start) * 1000


def end(server):
    server.terminate()
    server.wait()


def timed(command, env):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, **env})
    return (time.perf_counter() - start) * 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--volumes", type=int, default=10_000)
    arguments = parser.parse_args()
    os.makedirs(STATE)
    names = [f"bench-{number:05}" for number in range(arguments.volumes)]
    servers = []
    try:
        server, empty = serve_orlop()
        servers.append(server)
        connection = Connection(ROOT + "/docker.sock")
        for name in names:
            connection.request("POST", "/v1.41/volumes/create", json.dumps({"Name": name}),
                               {"Content-Type": "application/json"})
            connection.getresponse().read()
        starts = []
        for turn in range(5):
            end(servers.pop())
            server, took = serve_orlop()
            servers.append(server)
            starts.append(took)
        for name in names:
            os.makedirs(f"{DATA}/volumes/{name}/_data")
        servers.append(subprocess.Popen(
            ["unshare", "-n", DOCKERD, "-H", f"unix://{STATE}/docker.sock", "--data-root", DATA, "--exec-root", STATE + "/run",
             "--pidfile", STATE + "/docker.pid", "--bridge", "none", "--iptables=false"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(STATE + "/docker.log", "w")))
        answers(STATE + "/docker.sock")
        orlop = [ORLOP, "--root", ROOT]
        cases = {
            "docker volume ls": ([DOCKER, "volume", "ls"], {"DOCKER_HOST": f"unix://{STATE}/docker.sock"}),
            "volume ls": ([*orlop, "volume", "ls"], {}),
            "volume audit --fast": ([*orlop, "volume", "audit", "--fast"], {}),
            "volume prune -a --dry-run": ([*orlop, "volume", "prune", "-a", "--dry-run"], {}),
        }
        times = {name: [] for name in cases}
        for turn in range(arguments.rounds + 1):
            for name, (command, env) in cases.items():
                took = timed(command, env)
                if turn > 0:
                    times[name].append(took)
        docker = statistics.median(times["docker volume ls"])
        print(f"| with {arguments.volumes:,} volumes | ms | of Docker's `volume ls` |")
        print("|---|---|---|")
        for name, values in times.items():
            median = statistics.median(values)
            print(f"| {name} | {median:.1f} | {median / docker:.3f} |")
        print(f"| start of the engine ({empty:.0f} ms without volumes) | {statistics.median(starts):.0f} | - |")
    finally:
        for server in servers:
            end(server)
        for mounted in sorted(line.split()[1] for line in open("/proc/mounts") if STATE in line)[::-1]:
            subprocess.run(["umount", "-l", mounted], check=False)
        shutil.rmtree(STATE)


main()
