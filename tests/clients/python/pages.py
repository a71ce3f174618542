"""Management pages (Portainer and its like): the calls that they make to show an engine, in their order and their forms.

Such a page sits in a container with the socket mounted, or beside the engine; it speaks an old version of the API by its
path, sends `all=true`, `filters` in both forms, and reads fields that no other client reads.
"""

import base64
import http.client
import json
import os
import socket
from urllib.parse import quote

import pytest
from wait import until


class Connection(http.client.HTTPConnection):
    def __init__(self):
        super().__init__("localhost", timeout=30)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))


def ask(method, path, body=None, expected=(200, 201, 204, 304)):
    connection = Connection()
    # Pages go through a proxy of their own, which leaves its headers.
    headers = {"X-PortainerAgent-Target": "local", "Content-Type": "application/json", "X-Registry-Auth": "e30="}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    assert answer.status in expected, f"{method} {path}: {answer.status} {data[:300]}"
    return json.loads(data) if data and "json" in (answer.headers["Content-Type"] or "") else data


@pytest.fixture
def container():
    made = ask("POST", "/v1.41/containers/create?name=page", {
        "Image": "busybox:latest", "Cmd": ["sh", "-c", "echo hello; sleep 1000"], "Tty": False, "OpenStdin": False,
        "Env": [], "Labels": {}, "ExposedPorts": {}, "MacAddress": "", "Volumes": {"/data": {}},
        "HostConfig": {"RestartPolicy": {"Name": "no"}, "PortBindings": {}, "PublishAllPorts": False, "Binds": ["page-data:/data"],
                       "AutoRemove": False, "NetworkMode": "bridge", "Privileged": False, "Init": False, "Runtime": "",
                       "ExtraHosts": [], "Devices": [], "DeviceRequests": [], "CapAdd": [], "CapDrop": [], "Sysctls": {},
                       "SecurityOpt": [], "LogConfig": {"Type": "", "Config": {}}, "ShmSize": 67108864},
        "NetworkingConfig": {"EndpointsConfig": {"bridge": {"IPAMConfig": {"IPv4Address": "", "IPv6Address": ""}}}}})
    ask("POST", f"/v1.41/containers/{made['Id']}/start", {})
    yield made["Id"]
    ask("DELETE", f"/v1.41/containers/{made['Id']}?v=1&force=true")
    ask("DELETE", "/v1.41/volumes/page-data?force=true")


def test_the_engine_is_found():
    assert ask("GET", "/_ping") == b"OK"
    info = ask("GET", "/info")
    for field in ("ServerVersion", "Name", "NCPU", "MemTotal", "Driver", "Containers", "ContainersRunning", "Images",
                  "OperatingSystem", "KernelVersion", "Architecture", "DockerRootDir", "Plugins", "Swarm", "Runtimes", "ID"):
        assert field in info, field
    assert info["Swarm"]["LocalNodeState"] == "inactive" and "local" in info["Plugins"]["Volume"]
    version = ask("GET", "/version")
    assert float(version["ApiVersion"]) >= 1.41 and version["MinAPIVersion"]


def test_the_overview(container):
    containers = ask("GET", "/v1.41/containers/json?all=true")
    (shown,) = [each for each in containers if each["Id"] == container]
    for field in ("Names", "Image", "ImageID", "Command", "Created", "Ports", "Labels", "State", "Status", "HostConfig",
                  "NetworkSettings", "Mounts"):
        assert field in shown, field
    images = ask("GET", "/v1.41/images/json?all=0")
    assert images and all(isinstance(image["RepoTags"], list) for image in images)
    volumes = ask("GET", "/v1.41/volumes")
    assert any(volume["Name"] == "page-data" for volume in volumes["Volumes"])
    networks = ask("GET", "/v1.41/networks")
    assert {"bridge", "host", "none"} <= {network["Name"] for network in networks}
    # Which volumes nobody uses is asked in the old form of filters.
    unused = ask("GET", "/v1.41/volumes?filters=" + quote(json.dumps({"dangling": {"true": True}})))
    assert not any(volume["Name"] == "page-data" for volume in unused["Volumes"] or [])
    for absent in ("/services", "/tasks", "/nodes"):
        ask("GET", f"/v1.41{absent}", expected=(503,))
    assert ask("GET", "/v1.41/plugins") is not None
    usage = ask("GET", "/v1.41/system/df")
    assert {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"} <= usage.keys()


def test_one_container(container):
    shown = ask("GET", f"/v1.41/containers/{container}/json")
    assert shown["State"]["Running"] and shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert [mount["Name"] for mount in shown["Mounts"]] == ["page-data"]
    until("the log is there", lambda: b"hello" in ask("GET", f"/v1.41/containers/{container}/logs?stdout=1&stderr=1&tail=100&timestamps=0"))
    stats = ask("GET", f"/v1.41/containers/{container}/stats?stream=false")
    assert stats["memory_stats"]["usage"] and stats["cpu_stats"]["cpu_usage"]["total_usage"] and stats["networks"]["eth0"]
    top = ask("GET", f"/v1.41/containers/{container}/top")
    assert top["Titles"] and top["Processes"]
    for action in ("pause", "unpause", "restart?t=0", "stop?t=0", "start", "kill"):
        ask("POST", f"/v1.41/containers/{container}/{action}", {})
    until("it has ended", lambda: not ask("GET", f"/v1.41/containers/{container}/json")["State"]["Running"])
    ask("POST", f"/v1.41/containers/{container}/start", {})


def test_the_console(container):
    """A terminal in the page: an exec on a hijacked connection, resized."""
    name = ask("POST", f"/v1.41/containers/{container}/exec", {
        "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Tty": True, "Cmd": ["sh"], "User": ""})["Id"]
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
    body = b'{"Detach":false,"Tty":true}'
    connection.sendall(b"POST /v1.41/exec/%s/start HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                       b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (name.encode(), len(body), body))
    said = b""
    while b"\r\n\r\n" not in said:
        said += connection.recv(4096)
    assert said.startswith(b"HTTP/1.1 101"), said
    ask("POST", f"/v1.41/exec/{name}/resize?h=50&w=120", {}, expected=(200, 201))
    connection.sendall(b"stty size; exit\n")
    while piece := connection.recv(4096):
        said += piece
    connection.close()
    assert b"50 120" in said
    until("it has ended", lambda: not ask("GET", f"/v1.41/exec/{name}/json")["Running"])


def test_files_in_a_volume():
    """Pages browse volumes through a helper container."""
    ask("POST", "/v1.41/volumes/create", {"Name": "page-files", "Driver": "local", "DriverOpts": {}, "Labels": {}})
    made = ask("POST", "/v1.41/containers/create", {"Image": "busybox", "HostConfig": {"Binds": ["page-files:/host"]}})["Id"]
    ask("GET", f"/v1.41/containers/{made}/archive?path=/host")
    connection = Connection()
    connection.request("HEAD", f"/v1.41/containers/{made}/archive?path=/host")
    answer = connection.getresponse()
    assert json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))["name"] == "host"
    connection.close()
    ask("DELETE", f"/v1.41/containers/{made}?v=1")
    ask("DELETE", "/v1.41/volumes/page-files")


def test_an_image():
    shown = ask("GET", "/v1.41/images/busybox:latest/json")
    assert shown["RootFS"]["Layers"] and shown["Config"]["Cmd"]
    assert ask("GET", f"/v1.41/images/{shown['Id']}/history")[0]["Id"] == shown["Id"]
    ask("POST", "/v1.41/images/busybox/tag?repo=page&tag=1")
    ask("DELETE", "/v1.41/images/page:1")
    ask("POST", "/v1.41/images/create?fromImage=" + quote("localhost:1/nothing:1"), {}, expected=(200, 404, 500))


def test_what_a_page_prunes():
    for kind in ("containers", "images", "volumes", "networks"):
        ask("POST", f"/v1.41/{kind}/prune?filters=" + quote(json.dumps({"label": ["none=here"]})))


def test_the_socket_inside_a_container():
    """The page itself is a container that has the engine's socket."""
    path = os.environ["DOCKER_HOST"].removeprefix("unix://")
    made = ask("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Binds": [f"{path}:/var/run/docker.sock"]}, "Cmd": [
        "sh", "-c", "test -S /var/run/docker.sock"]})["Id"]
    ask("POST", f"/containers/{made}/start")
    outcome = ask("POST", f"/containers/{made}/wait")
    said = ask("GET", f"/containers/{made}/logs?stdout=1&stderr=1")
    assert outcome["StatusCode"] == 0, said
    ask("DELETE", f"/containers/{made}")
