"""Cases about many objects and many clients: lists over the API itself, and what streams and watchers cost the engine."""

import http.client
import json
import os
import socket
import struct
import time

CONTAINERS, RUNNING, EXITED = 1000, 50, 50
VOLUMES = 10_000
ATTACHED, WATCHERS = 500, 200


class Connection(http.client.HTTPConnection):
    """HTTP to an engine's socket; `name` is the engine's path."""

    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None, wanted=range(200, 300)):
        self.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        answer = self.getresponse()
        content = answer.read()
        if answer.status not in wanted:
            raise SystemExit(f"{method} {path}: {answer.status} {content.decode()}")
        return content


def sockets(data):
    return {"orlop": data + "/orlop/docker.sock", "docker": data + "/docker.sock"}


def timed(path, request, count):
    """The time from connecting to the last byte; what was listed is counted after it."""
    def case():
        start = time.perf_counter()
        connection = Connection(path)
        content = connection.ask("GET", request)
        elapsed = time.perf_counter() - start
        connection.close()
        listed = json.loads(content)
        listed = listed["Volumes"] if isinstance(listed, dict) else listed
        if len(listed) < count:
            raise SystemExit(f"{request}: {len(listed)} instead of {count}")
        return elapsed
    return case


def many_containers(path):
    """A thousand containers: fifty run, on a network and with a published port; fifty have run; the rest were never started."""
    connection = Connection(path)
    have = {one["Names"][0] for one in json.loads(connection.ask("GET", "/v1.41/containers/json?all=1"))}
    for number in range(CONTAINERS):
        name = f"list-{number:04}"
        if "/" + name in have:
            continue
        runs, ran = number < RUNNING, RUNNING <= number < RUNNING + EXITED
        connection.ask("POST", f"/v1.41/containers/create?name={name}", {
            "Image": "busybox",
            "Cmd": ["true"] if ran else ["sleep", "100000"],
            "Labels": {"com.example.project": f"project-{number % 20}", "com.example.service": name},
            "Env": ["MODE=production", f"NUMBER={number}"],
            "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {"Binds": [f"list-data-{number % 100}:/data"],
                           "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]} if runs else {},
                           "NetworkMode": "none" if ran else "default"},
        })
        if runs or ran:
            connection.ask("POST", f"/v1.41/containers/{name}/start")
        if ran:
            connection.ask("POST", f"/v1.41/containers/{name}/wait")


def remove_containers(path):
    connection = Connection(path)
    for number in range(CONTAINERS):
        connection.ask("DELETE", f"/v1.41/containers/list-{number:04}?force=1", wanted=(204, 404))


def containers(rounds, data, interleave):
    for path in sockets(data).values():
        many_containers(path)
    return interleave(rounds, [(name, timed(path, "/v1.41/containers/json?all=1", CONTAINERS))
                               for name, path in sockets(data).items()])


def running(rounds, data, interleave):
    """Without `all`: the thousand are there, the running ones are asked for."""
    for path in sockets(data).values():
        many_containers(path)
    result = interleave(rounds, [(name, timed(path, "/v1.41/containers/json", RUNNING))
                                 for name, path in sockets(data).items()])
    for path in sockets(data).values():
        remove_containers(path)
    return result


def volumes(rounds, data, interleave):
    for path in sockets(data).values():
        connection = Connection(path)
        have = {one["Name"] for one in json.loads(connection.ask("GET", "/v1.41/volumes"))["Volumes"] or []}
        for number in range(VOLUMES):
            name = f"many-{number:05}"
            if name not in have:
                labels = {"com.example.project": f"project-{number % 100}"}
                connection.ask("POST", "/v1.41/volumes/create", {"Name": name, "Labels": labels})
    return interleave(rounds, [(name, timed(path, "/v1.41/volumes", VOLUMES)) for name, path in sockets(data).items()])


def opened(path, request):
    """A connection whose answer has begun."""
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    stream.sendall(request.encode())
    head = b""
    while b"\r\n\r\n" not in head:
        part = stream.recv(4096)
        if not part:
            raise SystemExit(f"{request}: {head.decode()}")
        head += part
    if head.split(b" ")[1] not in (b"200", b"101"):
        raise SystemExit(f"{request}: {head.decode()}")
    return stream


def cost(stream):
    """Threads of the process at the other end, and its private memory in KiB."""
    pid, _, _ = struct.unpack("3i", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    threads = len(os.listdir(f"/proc/{pid}/task"))
    private = 0
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                private += int(line.split()[1])
    return threads, private


def streams(data):
    """What the engine has more with 500 attached streams and 200 watchers of events: {engine: (threads, KiB)}."""
    more = {}
    for name, path in sockets(data).items():
        connection = Connection(path)
        connection.ask("DELETE", "/v1.41/containers/streams?force=1", wanted=(204, 404))
        connection.ask("POST", "/v1.41/containers/create?name=streams", {"Image": "busybox", "Cmd": ["sleep", "100000"]})
        connection.ask("POST", "/v1.41/containers/streams/start")
        before = cost(connection.sock)
        attach = "POST /v1.41/containers/streams/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        watch = "GET /v1.41/events HTTP/1.1\r\nHost: x\r\n\r\n"
        held = [opened(path, attach) for _ in range(ATTACHED)] + [opened(path, watch) for _ in range(WATCHERS)]
        # Threads that only worked on the requests may end; those that serve the streams stay.
        time.sleep(15)
        after = cost(connection.sock)
        more[name] = tuple(now - then for now, then in zip(after, before))
        for stream in held:
            stream.close()
        connection.ask("DELETE", "/v1.41/containers/streams?force=1")
    return more
