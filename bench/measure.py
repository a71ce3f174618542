"""Measures orlop beside its rivals: every case once for each engine in turn, many rounds, ratios of medians."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import images
import lists

STATE = os.environ.get("BENCH_STATE", "/var/tmp/orlop-bench")
DATA = STATE + "/data"
ORLOP = os.path.abspath(os.environ["ORLOP"])
DOCKER = os.environ.get("DOCKER_BIN", "docker")


class Engine:
    """A command line and the environment it runs in."""

    def __init__(self, name, command, env=None):
        self.name = name
        self.command = command
        self.env = {**os.environ, **(env or {})}

    def run(self, *arguments, check=True, **options):
        ended = subprocess.run([*self.command, *arguments], env=self.env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        if check and ended.returncode != 0:
            raise SystemExit(f"{self.name} {' '.join(arguments)}: {ended.stderr.decode().strip()}")
        return ended

    def time(self, *arguments):
        start = time.perf_counter()
        self.run(*arguments)
        return time.perf_counter() - start


def engines():
    podman = ["podman", "--root", DATA + "/podman", "--runroot", DATA + "/podman-run", "--storage-driver", "overlay"]
    # Podman asks for limits that a host without CAP_SYS_RESOURCE cannot give.
    settings = STATE + "/containers.conf"
    with open(settings, "w") as file:
        file.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
        # Locks in shared memory would be the host's, and stay; there are 2,048.
        file.write('[engine]\nlock_type = "file"\nnum_locks = 8192\n')
        # crun, its default, refuses a host with both cgroup hierarchies.
        if os.path.isdir("/sys/fs/cgroup/memory"):
            file.write('runtime = "runc"\n')
    return {
        "orlop": Engine("orlop", [ORLOP, "--root", DATA + "/orlop"]),
        # The classic builder: the other one is a separate program.
        "docker": Engine("docker", [DOCKER], {"DOCKER_HOST": f"unix://{DATA}/docker.sock", "DOCKER_BUILDKIT": "0"}),
        "podman": Engine("podman", podman, {"CONTAINERS_CONF": settings, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}),
    }


def interleave(rounds, cases):
    """Times each (name, function) once a round; a pause lets what the last one left behind come to rest."""
    times = {name: [] for name, _ in cases}
    for turn in range(rounds + 1):
        for name, function in cases:
            time.sleep(0.15)
            elapsed = function()
            if turn > 0:  # the first round warms caches up
                times[name].append(elapsed)
    return {name: statistics.median(values) * 1000 for name, values in times.items()}


def bundle():
    """A prepared OCI bundle for bare runc: busybox unpacked, no network."""
    path = DATA + "/bundle"
    if not os.path.exists(path + "/config.json"):
        os.makedirs(path + "/rootfs")
        subprocess.run(["tar", "-C", path + "/rootfs", "-xf", STATE + "/busybox.tar"], check=True)
        subprocess.run(["runc", "spec"], cwd=path, check=True)
        with open(path + "/config.json") as file:
            config = json.load(file)
        config["process"]["args"] = ["true"]
        config["process"]["terminal"] = False
        config["process"].pop("rlimits", None)
        with open(path + "/config.json", "w") as file:
            json.dump(config, file)
    return path


def run_none(all_engines, rounds):
    cases = [(name, lambda e=e: e.time("run", "--rm", "--network", "none", "busybox", "true"))
             for name, e in all_engines.items()]
    path = bundle()

    def runc():
        start = time.perf_counter()
        subprocess.run(["runc", "run", "-b", path, f"bench-{time.monotonic_ns()}"], check=True, stdin=subprocess.DEVNULL)
        return time.perf_counter() - start

    return interleave(rounds, cases + [("runc", runc)])


def run_bridge(all_engines, rounds):
    return interleave(rounds, [(name, lambda e=e: e.time("run", "--rm", "busybox", "true"))
                               for name, e in all_engines.items() if name != "podman"])


def exec_true(all_engines, rounds):
    for engine in all_engines.values():
        engine.run("run", "-d", "--name", "bench-exec", "--network", "none", "busybox", "sleep", "100000")
    result = interleave(rounds, [(name, lambda e=e: e.time("exec", "bench-exec", "true"))
                                 for name, e in all_engines.items()])
    for engine in all_engines.values():
        engine.run("rm", "-f", "bench-exec")
    return result


def many_volumes(all_engines, count=2000):
    for engine in all_engines.values():
        have = len(engine.run("volume", "ls", "-q").stdout.splitlines())
        for number in range(have, count):
            engine.run("volume", "create", f"bench-{number:05}")


def volume_create(all_engines, rounds):
    many_volumes(all_engines)
    return interleave(rounds, [(name, lambda e=e: e.time("volume", "create", f"new-{time.monotonic_ns()}"))
                               for name, e in all_engines.items()])


def volume_ls(all_engines, rounds):
    many_volumes(all_engines)
    return interleave(rounds, [(name, lambda e=e: e.time("volume", "ls")) for name, e in all_engines.items()])


def volume_inspect(all_engines, rounds):
    many_volumes(all_engines)
    return interleave(rounds, [(name, lambda e=e: e.time("volume", "inspect", "bench-00777"))
                               for name, e in all_engines.items()])


def copy_up(all_engines, rounds):
    """20,000 small files from an image into a new volume, against `cp -a` of the same tree on the same filesystem."""
    tree = DATA + "/tree"
    if not os.path.exists(tree):
        for number in range(20000):
            directory = f"{tree}/seed/{number // 200}"
            os.makedirs(directory, exist_ok=True)
            with open(f"{directory}/{number}", "w") as file:
                file.write("x" * (number % 4000))
        shutil.copytree(DATA + "/bundle/rootfs", tree, dirs_exist_ok=True, symlinks=True)
        subprocess.run(["tar", "-C", tree, "-cf", DATA + "/tree.tar", "."], check=True)
    for name in ("orlop", "docker"):
        if all_engines[name].run("image", "inspect", "tree", check=False).returncode != 0:
            all_engines[name].run("import", DATA + "/tree.tar", "tree")

    def engine_case(engine):
        def case():
            name = f"cu{time.monotonic_ns()}"
            subprocess.run(["sync", "-f", DATA], check=True)
            elapsed = engine.time("create", "--name", name, "-v", f"{name}:/seed", "tree", "true")
            engine.run("rm", name)
            engine.run("volume", "rm", name)
            return elapsed
        return case

    def cp():
        target = f"{DATA}/cp{time.monotonic_ns()}"
        subprocess.run(["sync", "-f", DATA], check=True)
        start = time.perf_counter()
        subprocess.run(["cp", "-a", tree + "/seed", target], check=True)
        elapsed = time.perf_counter() - start
        shutil.rmtree(target)
        return elapsed

    cases = [(name, engine_case(all_engines[name])) for name in ("orlop", "docker")]
    return interleave(max(3, rounds // 4), cases + [("cp -a", cp)])


def shim_memory(all_engines, _rounds):
    """Private memory of a shim whose container has been running for a moment, in KiB."""
    engine = all_engines["orlop"]
    identifier = engine.run("run", "-d", "--network", "none", "busybox", "sleep", "100000").stdout.decode().strip()
    pid = engine.run("inspect", "--format", "{{.State.Pid}}", identifier).stdout.decode().strip()
    with open(f"/proc/{pid}/stat") as file:
        shim = file.read().rsplit(")", 1)[1].split()[1]
    private = 0
    with open(f"/proc/{shim}/smaps_rollup") as file:
        for line in file:
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                private += int(line.split()[1])
    engine.run("rm", "-f", identifier)
    return {"orlop": float(private)}


def pull_image(all_engines, rounds):
    return images.pull(all_engines, rounds, DATA, interleave)


def rebuild_image(all_engines, rounds):
    return images.rebuild(all_engines, rounds, DATA, interleave)


def list_containers(_engines, rounds):
    return lists.containers(rounds, DATA, interleave)


def list_running(_engines, rounds):
    return lists.running(rounds, DATA, interleave)


def list_volumes(_engines, rounds):
    return lists.volumes(rounds, DATA, interleave)


def stream_costs():
    """Measured once for both figures."""
    if not stream_costs.known:
        stream_costs.known.update(lists.streams(DATA))
    return stream_costs.known


stream_costs.known = {}


def stream_threads(_engines, _rounds):
    return {name: float(threads) for name, (threads, _) in stream_costs().items()}


def stream_memory(_engines, _rounds):
    return {name: float(memory) for name, (_, memory) in stream_costs().items()}


CASES = {
    "run --rm --network none busybox true": (run_none, "ms"),
    "run --rm busybox true (bridge)": (run_bridge, "ms"),
    "exec CONTAINER true": (exec_true, "ms"),
    "volume create (2,000 there)": (volume_create, "ms"),
    "volume ls (2,000)": (volume_ls, "ms"),
    "volume inspect (2,000 there)": (volume_inspect, "ms"),
    "copy-up of 20,000 files": (copy_up, "ms"),
    "private memory of a shim": (shim_memory, "KiB"),
    "pull of 1 GB in 50,000 files": (pull_image, "ms"),
    "rebuild, nothing changed, 500 MB": (rebuild_image, "ms"),
    "GET /containers/json?all=1 (1,000; 50 of them running)": (list_containers, "ms"),
    "GET /containers/json (50 running of 1,000)": (list_running, "ms"),
    "GET /volumes (10,000)": (list_volumes, "ms"),
    "threads for 500 attached streams and 200 watchers": (stream_threads, "threads"),
    "memory for 500 attached streams and 200 watchers": (stream_memory, "KiB"),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("cases", nargs="*", help="parts of case names")
    arguments = parser.parse_args()
    # A host of our own: bridges and firewall rules of the engines under test stay in it.
    if os.environ.get("ORLOP_BENCH_NETNS") != "1":
        os.environ["ORLOP_BENCH_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, *sys.argv])
    images.connect(DATA + "/docker.pid")
    serve = [ORLOP, "serve", "--root", DATA + "/orlop", "--insecure-registry", "10.77.0.0/24"]
    server = subprocess.Popen(serve, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(STATE + "/orlop.log", "w"))
    try:
        all_engines = engines()
        while not os.path.exists(DATA + "/orlop/docker.sock"):
            time.sleep(0.05)
        for engine in all_engines.values():
            if engine.run("image", "inspect", "busybox", check=False).returncode != 0:
                engine.run("import", STATE + "/busybox.tar", "busybox")
        for name in ("docker", "podman"):
            print(name, all_engines[name].run("--version").stdout.decode().strip(), file=sys.stderr)
        bundle()
        print("| case | unit | orlop | rivals | orlop / rival |")
        print("|---|---|---|---|---|")
        for name, (function, unit) in CASES.items():
            if arguments.cases and not any(part in name for part in arguments.cases):
                continue
            result = function(all_engines, arguments.rounds)
            rivals = {rival: value for rival, value in result.items() if rival != "orlop"}
            shown = ", ".join(f"{rival} {value:.1f}" for rival, value in rivals.items())
            ratios = ", ".join(f"{result['orlop'] / value:.3f} ({rival})" for rival, value in rivals.items() if value > 0)
            print(f"| {name} | {unit} | {result['orlop']:.1f} | {shown or '-'} | {ratios or '-'} |", flush=True)
    finally:
        server.terminate()
        server.wait()


main()
