"""The stock docker CLI, at several ages: Debian's stable and next release, and the one in the PATH where it is another.

What the commands do is tested by tests/scenarios, through one version. This is about what differs between the ages of a client:
how it negotiates, what it sends, and what it reads from the answers.
"""

import json
import os
import pathlib
import pty
import shutil
import subprocess

import pytest
from wait import until


def clients():
    known = {}
    for name in ("docker-20.10", "docker-26.1", "docker"):
        path = shutil.which(name)
        if not path:
            continue
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        version = said.split()[2].rstrip(",").split("+")[0]
        known.setdefault(version, path)
    return known


CLIENTS = clients()


@pytest.fixture(params=sorted(CLIENTS), ids=lambda version: f"docker-{version}")
def docker(request):
    version = request.param
    environment = {**os.environ, "DOCKER_BUILDKIT": "0", "HOME": os.environ["SCRATCH"]}
    tag = "v" + version.replace(".", "-")

    def run(line, *more, code=0, given=None, **options):
        """A command line; `%` stands for a prefix that belongs to this client."""
        words = [word.replace("%", f"{tag}-") for word in line.split()] + list(more)
        done = subprocess.run([CLIENTS[version], *words], input=given, capture_output=True, text=True, env=environment,
                              timeout=60, **options)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        run.error = done.stderr
        return done.stdout

    run.version, run.path, run.environment, run.tag = version, CLIENTS[version], environment, tag
    yield run
    for kind in ("container", "volume"):
        listed = run(f"{kind} ls -q" + (" -a" if kind == "container" else ""), "--filter", f"name={tag}-").split()
        if listed:
            run(f"{kind} rm -f", *listed)


def test_more_than_one_age():
    assert len(CLIENTS) >= 2, CLIENTS


def test_version_and_info(docker):
    assert json.loads(docker("version --format", "{{json .}}"))["Server"]["Os"] == "linux"
    assert "Server Version:" in docker("info")
    assert docker("info --format", "{{.Driver}} {{.CgroupDriver}}").strip()


def test_run(docker):
    assert docker("run --rm busybox echo hello") == "hello\n"
    docker("run --rm busybox sh -c", "echo o; echo e >&2; exit 3", code=3)
    assert docker.error == "e\n"
    assert docker("run --rm -i busybox cat", given="in and out\n") == "in and out\n"
    docker("run --rm busybox /nothing", code=127)
    docker("run --rm busybox /etc/passwd", code=126)
    docker("run --nothing busybox", code=125)
    assert docker("run --rm --init busybox ps -o comm").count("\n") >= 2


def test_terminal(docker):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([docker.path, "run", "--rm", "-it", "busybox", "sh", "-c", "tty; stty size; read x; echo got $x"],
                               stdin=theirs, stdout=theirs, stderr=theirs, env=docker.environment)
    os.close(theirs)
    said = b""
    os.write(ours, b"typed\n")
    try:
        while b"got typed" not in said:
            said += os.read(ours, 1024)
    except OSError:
        pass
    assert process.wait(30) == 0
    assert b"/dev/pts/0" in said and b"got typed" in said
    os.close(ours)


def test_detached_life(docker):
    name = docker("run -d --name %life --label l=1 -e A=b busybox sleep 1000").strip()
    assert len(name) == 64
    assert docker("ps -q --no-trunc --filter", f"name={docker.tag}-life").strip() == name
    assert docker("inspect --format", "{{.State.Status}} {{index .Config.Labels \"l\"}}", name) == "running 1\n"
    assert docker("exec %life sh -c", "echo $A") == "b\n"
    docker("exec %life sh -c", "exit 9", code=9)
    assert docker("exec -i %life cat", given="x") == "x"
    docker("pause %life")
    docker("unpause %life")
    docker("rename %life %renamed")
    assert "sleep 1000" in docker("top %renamed")
    assert docker.tag in docker("stats --no-stream %renamed")
    docker("update --memory 64m --memory-swap 128m %renamed")
    docker("restart -t 0 %renamed")
    docker("stop -t 0 %renamed")
    assert docker("wait %renamed") == "137\n"
    docker("start %renamed")
    docker("kill %renamed")
    docker("rm -f %renamed")
    docker("inspect %renamed", code=1)
    assert "No such object" in docker.error


def test_logs_and_attach(docker):
    docker("run -d --name %logs busybox sh -c", "echo one; echo two >&2; sleep 0.5; echo three; sleep 1000")
    until("it has said all", lambda: "three" in docker("logs %logs"))
    assert docker("logs %logs") == "one\nthree\n" and docker.error == "two\n"
    assert docker("logs -t --tail 1 %logs").endswith("Z three\n")
    assert docker("logs --since 1h %logs") == "one\nthree\n"
    follow = subprocess.Popen([docker.path, "logs", "-f", f"{docker.tag}-logs"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env=docker.environment, bufsize=0)
    assert follow.stdout.readline() == b"one\n"
    docker("rm -f %logs")
    assert follow.communicate(timeout=30)[0] == b"three\n"


def test_volumes(docker):
    docker("volume create %data")
    docker("run --rm -v %data:/d busybox sh -c", "echo kept >/d/f")
    assert docker("run --rm --mount", f"type=volume,source={docker.tag}-data,target=/d,readonly", "busybox", "cat", "/d/f") == "kept\n"
    docker("run --rm --tmpfs /t:size=1m busybox sh -c", "touch /t/x")
    docker("create --name %user -v %data:/d -v /anonymous busybox")
    docker("volume rm %data", code=1)
    assert "volume is in use" in docker.error
    anonymous = docker("inspect %user --format", "{{range .Mounts}}{{if eq .Destination \"/anonymous\"}}{{.Name}}{{end}}{{end}}").strip()
    docker("rm -v %user")
    docker(f"volume inspect {anonymous}", code=1)
    assert json.loads(docker("volume inspect %data"))[0]["Driver"] == "local"
    assert docker("volume ls -q --filter", f"name={docker.tag}-data") == f"{docker.tag}-data\n"
    docker("volume rm %data")


def test_copies(docker, tmp_path):
    (tmp_path / "file").write_text("copied\n")
    docker("create --name %copy -v %copied:/v busybox cat /v/file")
    docker(f"cp {tmp_path}/file %copy:/v/file")
    docker("start %copy")
    until("it has ended", lambda: docker("logs %copy") == "copied\n")
    docker(f"cp %copy:/v/file {tmp_path}/back")
    assert (tmp_path / "back").read_text() == "copied\n"
    docker(f"cp %copy:/v {tmp_path}/tree")
    assert (tmp_path / "tree" / "file").exists()
    docker(f"cp %copy:/nothing {tmp_path}", code=1)
    docker("rm %copy")
    docker("volume rm %copied")


def test_ports(docker):
    docker("run -d --name %port -p 127.0.0.1::80 busybox sh -c", "while :; do echo hi | nc -l -p 80; done")
    address = docker("port %port 80/tcp").strip()
    assert address.startswith("127.0.0.1:")
    host, port = address.split(":")
    until("it answers", lambda: subprocess.run(["busybox", "nc", "-w", "5", host, port], capture_output=True,
                                               stdin=subprocess.DEVNULL).stdout == b"hi\n")
    assert "->80/tcp" in docker("ps --filter", f"name={docker.tag}-port")


def test_images(docker, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG A=1\nRUN echo $A >/f\nCMD [\"cat\", \"/f\"]\n")
    tag = f"{docker.tag}/built:1"
    docker(f"build -t {tag} --build-arg A=2", str(tmp_path))
    assert docker(f"run --rm {tag}") == "2\n"
    assert tag.split(":")[0] in docker("images")
    assert "RUN" in docker(f"history {tag} --no-trunc") or "echo $A" in docker(f"history {tag} --no-trunc")
    docker(f"save -o {tmp_path}/saved.tar {tag}")
    docker(f"rmi {tag}")
    assert f"Loaded image: {tag}" in docker(f"load -i {tmp_path}/saved.tar")
    docker(f"tag {tag} {docker.tag}/other")
    docker(f"rmi {tag} {docker.tag}/other")
    docker("create --name %commit busybox")
    docker(f"commit -m why %commit {docker.tag}/commit")
    docker(f"rmi {docker.tag}/commit")
    docker("rmi nothing", code=1)
    assert "No such image" in docker.error


def test_diff_and_export(docker, tmp_path):
    docker("run --name %diff busybox touch /new")
    assert "A /new" in docker("diff %diff").splitlines()
    docker(f"export -o {tmp_path}/root.tar %diff")
    assert "new" in subprocess.run(["tar", "-tf", tmp_path / "root.tar"], capture_output=True, text=True, check=True).stdout.split()


def test_events(docker):
    import time
    since = str(int(time.time()) - 1)
    docker("run --rm --name %event busybox true")
    said = docker(f"events --since {since} --until", str(int(time.time()) + 1), "--filter", f"container={docker.tag}-event",
                  "--format", "{{.Action}}").split()
    assert said[0] == "create" and "die" in said and said[-1] == "destroy"


def test_health(docker):
    docker("run -d --name %health --health-cmd true --health-interval 100ms busybox sleep 1000")
    until("it is healthy", lambda: docker("inspect %health --format", "{{.State.Health.Status}}") == "healthy\n")
    assert "(healthy)" in docker("ps --filter health=healthy")


def test_networks(docker):
    docker("network create --subnet 10.67.0.0/24 %net")
    try:
        docker("run -d --name %server --network %net --network-alias web --ip 10.67.0.9 busybox sleep 1000")
        assert "10.67.0.9" in docker("run --rm --network %net busybox ping -c 1 -W 5 web")
        assert json.loads(docker("network inspect %net"))[0]["IPAM"]["Config"][0]["Subnet"] == "10.67.0.0/24"
        docker("network rm %net", code=1)
    finally:
        docker("rm -f %server")
        docker("network rm %net")


def test_system(docker):
    assert "Local Volumes" in docker("system df")
    docker("system df -v")
    assert docker("container prune -f --filter label=none").startswith("Total")
    assert "Total" in docker("system prune -f --filter label=none")


def test_what_is_not_there_is_said(docker):
    docker("swarm init --advertise-addr 127.0.0.1", code=1)
    docker("service ls", code=1)
    assert "not a swarm manager" in docker.error
    assert docker("plugin ls -q") == ""
    docker("pull localhost:1/nothing", code=1)
