"""docker-py: what programs in Python do with an engine."""

import io
import json
import socket
import tarfile
import threading

import docker
import pytest
from docker.types import Healthcheck, Mount
from wait import until


@pytest.fixture(scope="module")
def client():
    client = docker.from_env(timeout=30)
    yield client
    client.close()


@pytest.fixture
def made(client):
    """Containers made by a test, removed with their volumes at its end."""
    containers = []

    def make(*command, start=True, **options):
        container = client.containers.create("busybox", list(command) or ["sleep", "1000"], **options)
        containers.append(container)
        if start:
            container.start()
        return container

    yield make
    for container in containers:
        try:
            container.remove(force=True, v=True)
        except docker.errors.NotFound:
            pass


def pack(**files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def unpack(chunks):
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        return {entry.name: archive.extractfile(entry).read() if entry.isfile() else None for entry in archive}


def test_engine(client):
    assert client.ping()
    assert client.version()["Os"] == "linux"
    assert client.info()["Driver"]
    assert client.df()["Images"]


def test_run_returns_output(client):
    assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"


def test_run_raises_with_the_error_output(client):
    with pytest.raises(docker.errors.ContainerError) as raised:
        client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert raised.value.exit_status == 3
    assert raised.value.stderr == b"bad\n"


def test_unknown_image_is_pulled_and_that_fails(client):
    with pytest.raises(docker.errors.APIError):
        client.containers.run("localhost:1/nothing")


def test_errors_have_docker_s_classes(client):
    with pytest.raises(docker.errors.NotFound, match="No such container: nothing"):
        client.containers.get("nothing")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nothing")
    with pytest.raises(docker.errors.ImageNotFound):
        client.containers.create("nothing")
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get("nothing")
    with pytest.raises(docker.errors.NotFound):
        client.networks.get("nothing")


def test_detached_life(client, made):
    container = made("sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done", name="py-life")
    until("it says up", lambda: container.logs() == b"up\n")
    container.reload()
    assert container.status == "running"
    assert container.name == "py-life"
    assert [each.name for each in client.containers.list(filters={"name": "py-life"})] == ["py-life"]
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.rename("py-renamed")
    container.stop(timeout=10)
    assert container.wait()["StatusCode"] == 5
    container.restart(timeout=1)
    until("it runs again", lambda: client.containers.get("py-renamed").status == "running")
    container.kill("KILL")
    assert container.wait() == {"StatusCode": 137}
    container.remove()
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("py-renamed")


def test_name_conflict(client, made):
    made(name="py-taken")
    with pytest.raises(docker.errors.APIError, match="is already in use by container") as raised:
        made(name="py-taken")
    assert raised.value.status_code == 409


def test_configuration_comes_back(client, made):
    container = made(
        environment={"A": "b"}, labels={"l": "1"}, working_dir="/tmp", user="1:2", hostname="named", mem_limit="64m",
        nano_cpus=500_000_000, pids_limit=20, cap_drop=["ALL"], dns=["9.9.9.9"], extra_hosts={"x": "1.2.3.4"},
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}, tmpfs={"/t": "size=1m"}, read_only=True,
        ulimits=[docker.types.Ulimit(name="nofile", soft=64, hard=64)], shm_size="1m", stop_signal="SIGINT", init=True,
        security_opt=["no-new-privileges"], log_config=docker.types.LogConfig(config={"max-size": "1m", "max-file": "2"}))
    config, host = container.attrs["Config"], container.attrs["HostConfig"]
    assert "A=b" in config["Env"] and config["Labels"] == {"l": "1"}
    assert (config["WorkingDir"], config["User"], config["Hostname"], config["StopSignal"]) == ("/tmp", "1:2", "named", "SIGINT")
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"], host["ShmSize"]) == (64 << 20, 500_000_000, 20, 1 << 20)
    assert host["ReadonlyRootfs"] and host["Init"] and host["Tmpfs"] == {"/t": "size=1m"}
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
    seen = container.exec_run(["sh", "-c", "id -u; id -g; hostname; pwd; ulimit -n; grep x$ /etc/hosts; cat /etc/resolv.conf"])
    assert seen.output.decode().split()[:5] == ["1", "2", "named", "/tmp", "64"]
    assert b"1.2.3.4" in seen.output and b"9.9.9.9" in seen.output


def test_logs(client, made):
    container = made("sh", "-c", "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three")
    container.wait()
    assert container.logs(stderr=False) == b"one\nthree\n"
    assert container.logs(stdout=False) == b"two\n"
    assert container.logs(tail=1) == b"three\n"
    assert container.logs(since=2_000_000_000) == b""
    stamped = container.logs(timestamps=True, stderr=False).decode().splitlines()
    assert len(stamped) == 2 and stamped[0].endswith("Z one")
    demultiplexed = client.api.attach(container.id, stream=False, logs=True, demux=True)
    assert demultiplexed == (b"one\nthree\n", b"two\n")


def test_logs_follow(made):
    container = made("sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n3\n"


def test_exec(made):
    container = made()
    assert tuple(container.exec_run("echo hi")) == (0, b"hi\n")
    assert container.exec_run(["sh", "-c", "exit 7"]).exit_code == 7
    assert container.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True).output == (b"o\n", b"e\n")
    assert container.exec_run("env", environment={"X": "y"}).output.decode().count("X=y") == 1
    assert container.exec_run("pwd", workdir="/tmp").output == b"/tmp\n"
    assert container.exec_run("id -u", user="3").output == b"3\n"
    assert container.exec_run(["test", "-t", "1"], tty=True).exit_code == 0
    assert b"".join(container.exec_run("echo streamed", stream=True).output) == b"streamed\n"
    assert container.exec_run("/nothing").exit_code in (126, 127)


def test_exec_socket(client, made):
    container = made()
    name = client.api.exec_create(container.id, ["cat"], stdin=True)["Id"]
    connection = client.api.exec_start(name, socket=True)
    raw = connection._sock
    raw.sendall(b"to and fro\n")
    raw.shutdown(socket.SHUT_WR)
    data = b""
    while piece := raw.recv(4096):
        data += piece
    connection.close()
    assert data == b"\x01\0\0\0\0\0\0\x0bto and fro\n"
    until("the exec has ended", lambda: not client.api.exec_inspect(name)["Running"])
    assert client.api.exec_inspect(name)["ExitCode"] == 0


def test_attach_socket(client, made):
    container = made("sh", "-c", "read line; echo \"got $line\"", start=False, stdin_open=True)
    connection = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    container.start()
    connection._sock.sendall(b"this\n")
    data = b""
    while piece := connection._sock.recv(4096):
        data += piece
    connection.close()
    assert data[8:] == b"got this\n"
    assert container.wait()["StatusCode"] == 0


def test_attach_stream(made):
    container = made("sh", "-c", "sleep 0.3; echo late", start=False)
    stream = container.attach(stream=True, logs=True)
    container.start()
    assert b"".join(stream) == b"late\n"


def test_tty_and_resize(client, made):
    container = made("sh", "-c", "sleep 0.5; stty size; sleep 1000", tty=True)
    container.resize(11, 22)
    until("the size is told", lambda: container.logs())
    assert b"\r\n" in container.logs()
    name = client.api.exec_create(container.id, ["sleep", "1000"], tty=True)["Id"]
    client.api.exec_start(name, detach=True, tty=True)
    client.api.exec_resize(name, 10, 20)


def test_archive(made):
    container = made()
    assert container.put_archive("/tmp", pack(one=b"1", two=b"22"))
    chunks, stat = container.get_archive("/tmp/two")
    assert unpack(chunks) == {"two": b"22"}
    assert (stat["name"], stat["size"]) == ("two", 2)
    chunks, _ = container.get_archive("/tmp")
    assert {"tmp", "tmp/one", "tmp/two"} <= set(name.rstrip("/") for name in unpack(chunks))
    with pytest.raises(docker.errors.NotFound):
        container.get_archive("/nothing")
    assert {"Kind": 1, "Path": "/tmp/one"} in container.diff()
    assert unpack(container.export())["tmp/one"] == b"1"


def test_archive_into_a_volume(client, made):
    volume = client.volumes.create("py-copied")
    container = made(volumes={"py-copied": {"bind": "/data", "mode": "rw"}}, start=False)
    container.put_archive("/data", pack(kept=b"bytes"))
    container.remove()
    assert client.containers.run("busybox", "cat /d/kept", volumes=["py-copied:/d"], remove=True) == b"bytes"
    volume.remove()


def test_volumes(client, made):
    volume = client.volumes.create(name="py-volume", labels={"k": "v"}, driver="local")
    assert volume.attrs["Labels"] == {"k": "v"} and volume.attrs["Driver"] == "local"
    assert [each.name for each in client.volumes.list(filters={"label": "k=v"})] == ["py-volume"]
    container = made(mounts=[
        Mount("/v", "py-volume"), Mount("/r", "py-volume", read_only=True), Mount("/t", None, type="tmpfs", tmpfs_size="1m")])
    assert container.exec_run(["sh", "-c", "echo x >/v/f && cat /r/f && ! touch /r/g 2>/dev/null"]).exit_code == 0
    assert sorted(mount["Destination"] for mount in container.attrs["Mounts"]) == ["/r", "/t", "/v"]
    with pytest.raises(docker.errors.APIError, match="volume is in use"):
        volume.remove()
    container.remove(force=True)
    volume.remove()
    client.volumes.create("py-unused")
    assert "py-unused" in client.volumes.prune(filters={"all": True})["VolumesDeleted"]


def test_volumes_from(made):
    made("sh", "-c", "echo shared >/data/f; sleep 1000", name="py-holder", volumes=["/data"])
    reader = made(volumes_from=["py-holder:ro"])
    until("the file is seen", lambda: reader.exec_run("cat /data/f").output == b"shared\n")


def test_stats_and_top(client, made):
    container = made(mem_limit="64m")
    once = container.stats(stream=False)
    assert once["memory_stats"]["limit"] == 64 << 20 and once["name"] == f"/{container.name}"
    stream = container.stats(stream=True, decode=True)
    assert next(stream)["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert next(stream)["precpu_stats"]["system_cpu_usage"] > 0
    stream.close()
    top = container.top()
    assert top["Titles"][0] == "UID" and any("sleep" in process[-1] for process in top["Processes"])


def test_update(made):
    container = made(mem_limit="64m")
    container.update(mem_limit="32m", memswap_limit="64m", restart_policy={"Name": "always"})
    container.reload()
    assert container.attrs["HostConfig"]["Memory"] == 32 << 20
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"


def test_wait_conditions(client, made):
    container = made("true", start=False)
    ended = []
    waiter = threading.Thread(target=lambda: ended.append(client.api.wait(container.id, condition="next-exit")))
    waiter.start()
    until("somebody waits", waiter.is_alive)
    container.start()
    waiter.join(20)
    if not ended:
        # The waiter may have come after the end; then it waits for the next one.
        container.start()
        waiter.join(20)
    assert ended == [{"StatusCode": 0}]


def test_events(client, made):
    seen = []
    stream = client.events(decode=True, filters={"type": "container", "label": "py-events"})
    reader = threading.Thread(target=lambda: [seen.append(event) for event in stream])
    reader.start()
    container = made("sh", "-c", "exit 2", labels={"py-events": "1"}, name="py-events")
    container.wait()
    container.remove()
    until("it is destroyed", lambda: any(event["Action"] == "destroy" for event in seen))
    stream.close()
    reader.join(10)
    actions = [event["Action"] for event in seen]
    assert [action for action in actions if action in ("create", "start", "die", "destroy")] == [
        "create", "start", "die", "destroy"]
    died = seen[actions.index("die")]
    assert died["Actor"]["Attributes"]["exitCode"] == "2" and died["Actor"]["Attributes"]["name"] == "py-events"
    assert died["id"] == container.id and died["from"] == "busybox" and died["status"] == "die"


def test_ports(client, made):
    container = made("sh", "-c", "while :; do echo hi | nc -l -p 80; done", ports={"80/tcp": ("127.0.0.1", None)})
    container.reload()
    port = int(container.ports["80/tcp"][0]["HostPort"])

    def fetch():
        with socket.socket() as connection:
            connection.settimeout(5)
            try:
                connection.connect(("127.0.0.1", port))
                return connection.recv(10)
            except OSError:
                return b""

    until("it answers", lambda: fetch() == b"hi\n")


def test_images(client):
    image = client.images.get("busybox")
    assert image.tag("py/other", "1")
    assert client.images.get("py/other:1").id == image.id
    saved = b"".join(client.images.get("py/other:1").save(named="py/other:1"))
    client.images.remove("py/other:1")
    loaded = client.images.load(saved)
    assert loaded[0].tags == ["py/other:1"] or "py/other:1" in loaded[0].tags
    assert image.history()[0]["Id"] == image.id
    client.images.remove("py/other:1")
    assert client.images.list(filters={"reference": "py/other"}) == []


def test_build(client):
    files = pack(Dockerfile=b"FROM busybox\nARG WHO\nCOPY file /file\nRUN echo $WHO >>/file\nCMD cat /file\n", file=b"for ")
    image, output = client.images.build(
        fileobj=io.BytesIO(files), custom_context=True, tag="py-built:1", buildargs={"WHO": "you"}, rm=True, labels={"b": "1"})
    assert any("Successfully built" in line.get("stream", "") for line in output)
    assert image.labels == {"b": "1"}
    assert client.containers.run("py-built:1", remove=True) == b"for you\n"
    client.images.remove("py-built:1")


def test_build_fails(client):
    with pytest.raises(docker.errors.BuildError) as raised:
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 4\n"))
    assert "returned a non-zero code: 4" in str(raised.value)


def test_commit_and_import(client, made):
    container = made("sh", "-c", "echo kept >/kept")
    container.wait()
    image = container.commit("py-commit", "1", message="m", author="a", changes='CMD ["cat", "/kept"]')
    assert client.containers.run("py-commit:1", remove=True) == b"kept\n"
    assert image.attrs["Author"] == "a" and image.attrs["Comment"] == "m"
    client.images.remove("py-commit:1")
    answer = client.api.import_image_from_data(pack(a=b"b"), repository="py-import", tag="1")
    assert json.loads(answer.splitlines()[-1])["status"].startswith("sha256:")
    client.images.remove("py-import:1")


def test_prune(client, made):
    container = made("true", labels={"py-prune": "1"})
    container.wait()
    until("it has ended", lambda: client.containers.get(container.id).status == "exited")
    pruned = client.containers.prune(filters={"label": "py-prune"})
    assert pruned["ContainersDeleted"] == [container.id]
    assert client.images.prune()["ImagesDeleted"] is None


def test_healthcheck(client, made):
    container = made(healthcheck=Healthcheck(test=["CMD", "test", "-e", "/tmp/well"], interval=100_000_000, retries=2,
                                             timeout=5_000_000_000))
    assert client.containers.get(container.id).attrs["State"]["Health"]["Status"] in ("starting", "unhealthy")
    until("it is unhealthy", lambda: client.containers.get(container.id).health == "unhealthy")
    container.exec_run("touch /tmp/well")
    until("it is healthy", lambda: client.containers.get(container.id).health == "healthy")


def test_networks(client, made):
    network = client.networks.create("py-net", driver="bridge", labels={"n": "1"}, ipam=docker.types.IPAMConfig(
        pool_configs=[docker.types.IPAMPool(subnet="10.66.0.0/24", gateway="10.66.0.1")]))
    try:
        assert [each.name for each in client.networks.list(names=["py-net"])] == ["py-net"]
        server = made(name="py-server")
        network.connect(server, aliases=["web"], ipv4_address="10.66.0.9")
        other = made(network="py-net")
        assert b"10.66.0.9" in other.exec_run("ping -c 1 -W 5 web").output
        network.reload()
        assert {each.name for each in network.containers} == {server.name, other.name}
        with pytest.raises(docker.errors.APIError):
            network.remove()
        network.disconnect(server)
        assert other.exec_run("ping -c 1 -W 1 web").exit_code != 0
        other.remove(force=True)
    finally:
        network.reload()
        for container in network.containers:
            network.disconnect(container, force=True)
        network.remove()


def test_concurrent_use(client):
    """One client in many threads, as programs use it."""
    outputs = {}

    def run(number):
        outputs[number] = client.containers.run("busybox", ["echo", str(number)], remove=True)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == {number: b"%d\n" % number for number in range(10)}


def test_no_swarm(client):
    with pytest.raises(docker.errors.APIError, match="not a swarm manager"):
        client.services.list()
    assert client.plugins.list() == []
