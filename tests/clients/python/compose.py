"""docker-compose: version 1, which is a Python program of its own making, and version 2, alone and as the CLI's plugin.

Each test is a project in a directory of its own, driven by both versions; nothing of a project may be left after `down -v`.
"""

import json
import os
import pathlib
import shutil
import subprocess
import textwrap

import pytest
from wait import until

VERSIONS = ("docker-compose-1.29", "docker-compose-2.26")


def docker(*words, code=0):
    done = subprocess.run(["docker-26.1", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, f"docker {words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def orlop(*words):
    return subprocess.run([os.environ["ORLOP"], *words], check=True, capture_output=True, text=True, timeout=60).stdout


class Project:
    def __init__(self, client, directory, name):
        self.client, self.directory, self.name = client, directory, name
        self.environment = {**os.environ, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0",
                            "COMPOSE_PROJECT_NAME": name}
        self.second = client.endswith("2.26")
        self.error = ""

    def file(self, text, name="docker-compose.yml"):
        text = textwrap.dedent(text)
        if name.endswith(".yml") and not self.second:
            text = "version: '3.9'\n" + text
        (self.directory / name).write_text(text)

    def __call__(self, line, *more, code=0, given="", timeout=120):
        done = subprocess.run([self.client, *line.split(), *more], cwd=self.directory, env=self.environment, input=given,
                              capture_output=True, text=True, timeout=timeout)
        assert done.returncode == code, f"{self.client} {line} {more}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        self.error = done.stderr
        return done.stdout

    def container(self, service, number=1):
        """Version 1 joins names with underscores."""
        return ("-" if self.second else "_").join([self.name, service, str(number)])

    def inspect(self, service, form, number=1):
        return docker("inspect", "--format", form, self.container(service, number)).strip()

    def mount(self, service, place, number=1):
        form = "{{range .Mounts}}{{if eq .Destination \"" + place + "\"}}{{.Name}}{{end}}{{end}}"
        return self.inspect(service, form, number)


@pytest.fixture(params=VERSIONS)
def compose(request, tmp_path):
    version = "one" if request.param.endswith("1.29") else "two"
    project = Project(request.param, tmp_path, request.node.originalname.removeprefix("test_").replace("_", "")[:20] + version)
    yield project
    if any(tmp_path.glob("docker-compose.yml")):
        project("down -v -t 0 --remove-orphans")
    label = f"label=com.docker.compose.project={project.name}"
    assert docker("ps", "-aq", "--filter", label) == ""
    assert docker("volume", "ls", "-q", "--filter", label) == ""
    assert docker("network", "ls", "-q", "--filter", label) == ""


def test_up_and_down(compose):
    compose.file("""
        services:
          one:
            image: busybox
            command: sh -c "echo from one; sleep 1000"
            volumes: [named:/named, /anonymous]
            environment: {A: b}
          two:
            image: busybox
            command: sleep 1000
            depends_on: [one]
        volumes:
          named: {}
    """)
    compose("up -d")
    listed = compose("ps")
    assert compose.container("one") in listed and compose.container("two") in listed
    assert "from one" in until("it has said it", lambda: compose("logs --no-color one"))
    assert compose("exec -T one sh -c", "echo $A") == "b\n"
    compose("exec -T one sh -c", "exit 6", code=6)
    # By the name of the service.
    assert "1 packets received" in compose("exec -T two ping -c 1 -W 5 one")
    assert "sleep 1000" in compose("top")
    compose("stop -t 0 one")
    compose("start one")
    compose("restart -t 0 two")
    compose("kill two")
    compose("rm -f two")
    compose("pause one")
    compose("unpause one")
    named = compose.mount("one", "/named")
    compose("down -t 0")
    assert docker("volume", "inspect", "--format", "{{.Name}}", named).strip() == f"{compose.name}_named"
    compose("up -d one")
    compose("exec -T one sh -c", "echo kept >/named/file")
    compose("down -v -t 0")
    docker("volume", "inspect", named, code=1)
    # Docker would have deleted it.
    orlop("volume", "undelete", named)
    compose("up -d one")
    assert compose("exec -T one cat /named/file") == "kept\n"
    compose("down -v -t 0")
    orlop("volume", "trash", "empty", "-f", named)


def test_up_in_the_foreground(compose):
    compose.file("""
        services:
          job:
            image: busybox
            command: sh -c "echo done; exit 4"
    """)
    said = compose("up --abort-on-container-exit --exit-code-from job", code=4)
    assert "done" in said


def test_anonymous_volumes_are_kept_over_recreation(compose):
    compose.file("""
        services:
          data:
            image: busybox
            command: sleep 1000
            volumes: [/data]
            environment: {ROUND: "${ROUND:-1}"}
    """)
    compose("up -d")
    first = compose.mount("data", "/data")
    compose("exec -T data sh -c", "echo kept >/data/f")
    compose.environment["ROUND"] = "2"
    compose("up -d -t 0")
    assert compose.mount("data", "/data") == first
    assert compose("exec -T data cat /data/f") == "kept\n"
    compose("up -d -t 0 --force-recreate")
    assert compose.mount("data", "/data") == first
    compose("up -d -t 0 --force-recreate -V")
    assert compose.mount("data", "/data") != first
    compose("exec -T data cat /data/f", code=1)


def test_kinds_of_mounts(compose):
    external = f"{compose.name}-external"
    docker("volume", "create", external)
    (compose.directory / "bound").mkdir()
    (compose.directory / "bound" / "file").write_text("bound\n")
    compose.file(f"""
        services:
          all:
            image: busybox
            command: sleep 1000
            read_only: true
            tmpfs: ["/run:size=1m"]
            volumes:
              - ./bound:/bound:ro
              - outer:/outer
              - type: volume
                source: named
                target: /named
                volume: {{nocopy: true}}
              - type: tmpfs
                target: /memory
                tmpfs: {{size: 1048576}}
              - type: bind
                source: ./bound
                target: /again
        volumes:
          named:
            labels: {{who: suite}}
          outer:
            external: true
            name: {external}
    """)
    compose("up -d")
    assert compose("exec -T all cat /bound/file /again/file") == "bound\nbound\n"
    compose("exec -T all sh -c", "touch /outer/x /named/x /memory/x /run/x /again/x && ! touch /bound/x 2>/dev/null && ! touch /x 2>/dev/null")
    assert docker("volume", "inspect", "--format", "{{.Labels.who}}", f"{compose.name}_named").strip() == "suite"
    compose("down -v -t 0")
    # What compose did not make it does not remove.
    docker("volume", "rm", external)
    assert (compose.directory / "bound" / "x").exists()


# Version 1 knows no subpath.
@pytest.mark.parametrize("compose", VERSIONS[1:], indirect=True)
def test_part_of_a_volume(compose):
    compose.file("""
        services:
          maker:
            image: busybox
            command: sh -c "mkdir -p /data/part && echo part >/data/part/f"
            volumes: [whole:/data]
          user:
            image: busybox
            command: sleep 1000
            depends_on: {maker: {condition: service_completed_successfully}}
            volumes:
              - type: volume
                source: whole
                target: /part
                volume: {subpath: part}
        volumes: {whole: {}}
    """)
    compose("up -d")
    assert compose("exec -T user cat /part/f") == "part\n"


def test_conditions(compose):
    compose.file("""
        services:
          first:
            image: busybox
            command: sh -c "sleep 0.5; touch /data/first; exit 0"
            volumes: [data:/data]
          well:
            image: busybox
            command: sh -c "sleep 0.5; touch /tmp/well; sleep 1000"
            healthcheck:
              test: ["CMD", "test", "-e", "/tmp/well"]
              interval: 200ms
              timeout: 5s
              retries: 100
          last:
            image: busybox
            command: sh -c "ls /data && sleep 1000"
            volumes: [data:/data]
            depends_on:
              first: {condition: service_completed_successfully}
              well: {condition: service_healthy}
        volumes: {data: {}}
    """)
    compose("up -d")
    assert compose.inspect("well", "{{.State.Health.Status}}") == "healthy"
    assert compose.inspect("first", "{{.State.ExitCode}}") == "0"
    assert "first" in until("it has listed", lambda: compose("logs --no-color last"))


def test_a_condition_that_fails(compose):
    compose.file("""
        services:
          ill:
            image: busybox
            command: sleep 1000
            healthcheck: {test: ["CMD", "false"], interval: 100ms, retries: 2, timeout: 5s}
          last:
            image: busybox
            command: sleep 1000
            depends_on: {ill: {condition: service_healthy}}
    """)
    compose("up -d", code=1)
    assert "unhealthy" in compose.error


def test_networks(compose):
    compose.file("""
        services:
          server:
            image: busybox
            command: sleep 1000
            networks:
              front: {aliases: [web], ipv4_address: 10.68.0.9}
              back: {}
          guest:
            image: busybox
            command: sleep 1000
            networks: [front]
          inner:
            image: busybox
            command: sleep 1000
            networks: [back]
        networks:
          front:
            ipam: {config: [{subnet: 10.68.0.0/24}]}
          back: {internal: true}
    """)
    compose("up -d")
    assert "10.68.0.9" in compose("exec -T guest ping -c 1 -W 5 web")
    compose("exec -T inner ping -c 1 -W 5 server")
    compose("exec -T guest ping -c 1 -W 1 inner", code=1)
    assert json.loads(docker("network", "inspect", f"{compose.name}_back"))[0]["Internal"] is True


def test_scale(compose):
    compose.file("""
        services:
          many: {image: busybox, command: sleep 1000, volumes: [/own]}
    """)
    compose("up -d --scale many=3")
    assert len({compose.mount("many", "/own", number) for number in (1, 2, 3)}) == 3
    compose("up -d --scale many=1 -t 0")
    assert len(docker("ps", "-q", "--filter", f"label=com.docker.compose.project={compose.name}").split()) == 1


def test_run(compose):
    compose.file("""
        services:
          tool:
            image: busybox
            entrypoint: ["echo", "tool"]
            volumes: [work:/work]
            depends_on: [helper]
          helper: {image: busybox, command: sleep 1000}
        volumes: {work: {}}
    """)
    assert compose("run --rm -T tool arguments").strip().endswith("tool arguments")
    assert compose("run --rm -T --no-deps --entrypoint sh -e X=y tool -c", "echo $X; exit 3", code=3) == "y\n"
    assert compose("ps").count("helper") >= 1


def test_build(compose):
    compose.file("""
        services:
          own:
            build: {context: ., args: {WHO: you}}
            image: compose-built
            command: cat /who
    """)
    compose.file("FROM busybox\nARG WHO\nRUN echo $WHO >/who\n", name="Dockerfile")
    compose("build")
    assert compose("run --rm -T own") == "you\n"
    compose("up -d --build")
    compose("down -t 0 --rmi all")
    docker("image", "inspect", "compose-built", code=1)


def test_ports_and_config(compose):
    compose.file("""
        services:
          web:
            image: busybox
            command: sh -c "while :; do echo hi | nc -l -p 80; done"
            ports: ["127.0.0.1::80"]
    """)
    compose("config -q")
    assert "127.0.0.1" in compose("config")
    compose("up -d")
    host, port = compose("port web 80").strip().split(":")
    until("it answers", lambda: subprocess.run(["busybox", "nc", "-w", "5", host, port], stdin=subprocess.DEVNULL,
                                               capture_output=True).stdout == b"hi\n")
    compose.file("services: {web: {image: 5}}")
    compose("config -q", code=15 if compose.second else 1)
    compose.file("services: {web: {image: busybox, command: sleep 1000}}")


def test_events_and_cp(compose):
    compose.file("""
        services:
          one: {image: busybox, command: sleep 1000}
    """)
    watcher = subprocess.Popen([compose.client, "events", "--json"], cwd=compose.directory, env=compose.environment,
                               stdout=subprocess.PIPE, text=True)
    try:
        # It says nothing until it listens, so it is made to see one of many.
        compose("up -d")
        for _ in range(30):
            compose("restart -t 0 one")
            os.set_blocking(watcher.stdout.fileno(), False)
            if watcher.stdout.read():
                break
        else:
            raise AssertionError("no event was seen")
    finally:
        watcher.terminate()
        watcher.wait(30)
    if compose.second:
        (compose.directory / "file").write_text("copied\n")
        compose("cp file one:/tmp/file")
        assert compose("exec -T one cat /tmp/file") == "copied\n"
        compose("cp one:/tmp/file back")
        assert (compose.directory / "back").read_text() == "copied\n"


def test_create_and_pull(compose):
    compose.file("""
        services:
          one: {image: busybox, command: sleep 1000}
          absent: {image: "localhost:1/nothing", profiles: [never], command: sleep 1000}
    """)
    compose("up --no-start" if not compose.second else "create")
    assert compose.inspect("one", "{{.State.Status}}") == "created"
    compose("start one")
    assert compose.inspect("one", "{{.State.Status}}") == "running"
    compose("pull absent", code=18 if compose.second else 1)


def test_changed_options_of_a_volume(compose):
    text = """
        services:
          one: {image: busybox, command: sleep 1000, volumes: ["data:/v"]}
        volumes:
          data:
            driver_opts: {type: tmpfs, device: tmpfs, o: "size=%s"}
    """
    compose.file(text % "1m")
    compose("up -d")
    compose("down -t 0")
    compose.file(text % "2m")
    if compose.second:
        # It asks, and does nothing without an answer; this age does not look at all.
        compose("up -d")
    else:
        compose("up -d", code=1)
        assert "options" in compose.error or "driver_opts" in compose.error
    compose.file(text % "1m")
    assert docker("volume", "inspect", "--format", "{{.Options.o}}", f"{compose.name}_data").strip() == "size=1m"


# Version 1 is no plugin.
@pytest.mark.parametrize("compose", VERSIONS[1:], indirect=True)
def test_as_a_plugin(compose):
    """`docker compose` finds it among the CLI's plugins."""
    plugins = pathlib.Path(os.environ["SCRATCH"]) / "plugin-home" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    plugin = plugins / "docker-compose"
    if not plugin.exists():
        plugin.symlink_to(shutil.which("docker-compose-2.26"))
    compose.environment["DOCKER_CONFIG"] = str(plugins.parent)
    compose.client = "docker-26.1"
    compose.file("services: {one: {image: busybox, command: sleep 1000}}")
    compose("compose up -d")
    assert "one" in compose("compose ps")
    compose("compose down -t 0")
    compose.client = "docker-compose-2.26"


def test_a_stack(compose):
    """A database, a cache and a web server that wait for one another, with their data in volumes."""
    if not docker("images", "-q", "servers").strip():
        archive = pathlib.Path(os.environ["IMAGES"]) / "servers.tar"
        docker("import", str(archive), "servers")
    compose.file("""
        services:
          database:
            image: servers
            command: >-
              sh -c "test -d /var/lib/mysql/mysql || mariadb-install-db --user=mysql >/dev/null;
              mkdir -p /run/mysqld; chown mysql /run/mysqld; exec mariadbd --user=mysql --bind-address=0.0.0.0"
            volumes: ["rows:/var/lib/mysql"]
            healthcheck: {test: ["CMD", "mariadb", "-e", "select 1"], interval: 500ms, timeout: 10s, retries: 100}
          cache:
            image: servers
            command: redis-server --protected-mode no --bind 0.0.0.0 --appendonly yes --dir /data
            volumes: ["keys:/data"]
            healthcheck: {test: ["CMD", "redis-cli", "ping"], interval: 500ms, timeout: 10s, retries: 100}
          web:
            image: servers
            command: sh -c "echo it works >/srv/index.html; cd /srv && exec python3 -m http.server 80"
            volumes: ["pages:/srv"]
            ports: ["127.0.0.1::80"]
            depends_on:
              database: {condition: service_healthy}
              cache: {condition: service_healthy}
        volumes: {rows: {}, keys: {}, pages: {}}
    """)
    compose("up -d", timeout=240)
    address = compose("port web 80").strip()

    def page():
        return subprocess.run(["curl", "-sS", "--max-time", "5", f"http://{address}/"], capture_output=True, text=True).stdout

    until("the page is there", lambda: page() == "it works\n")
    compose("exec -T database mariadb -e", "create database d; create table d.t (x int); insert into d.t values (42)")
    compose("exec -T web redis-cli -h cache set key value")
    compose("down", timeout=240)
    compose("up -d", timeout=240)
    assert compose("exec -T database mariadb -N -e", "select x from d.t") == "42\n"
    assert compose("exec -T cache redis-cli get key") == "value\n"
