"""Cases about images: a pull of many files from a registry, and a rebuild where nothing has changed."""

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
import time

REGISTRY_PORT = 5000
# The registry is in the benchmark's network namespace, Docker in one of its own.
HERE, THERE = "10.77.0.1", "10.77.0.2"
REGISTRY = f"{HERE}:{REGISTRY_PORT}"


def connect(docker_pid_file):
    """A wire between the two namespaces."""
    with open(docker_pid_file) as file:
        pid = file.read().strip()
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
    # Of an earlier run whose namespace is not gone yet.
    subprocess.run([*inside, "link", "delete", "bench1"], stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "link", "add", "bench0", "type", "veth", "peer", "name", "bench1", "netns", pid], check=True)
    subprocess.run(["ip", "addr", "add", f"{HERE}/24", "dev", "bench0"], check=True)
    subprocess.run(["ip", "link", "set", "bench0", "up"], check=True)
    subprocess.run([*inside, "addr", "add", f"{THERE}/24", "dev", "bench1"], check=True)
    subprocess.run([*inside, "link", "set", "bench1", "up"], check=True)


def registry(data):
    """Debian's docker-registry, answering."""
    os.makedirs(data + "/registry", exist_ok=True)
    with open(data + "/registry.yml", "w") as file:
        json.dump({"version": 0.1, "log": {"level": "error"}, "storage": {"filesystem": {"rootdirectory": data + "/registry"}},
                   "http": {"addr": f"0.0.0.0:{REGISTRY_PORT}"}}, file)
    process = subprocess.Popen(["docker-registry", "serve", data + "/registry.yml"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while subprocess.run(["curl", "-sf", f"http://{REGISTRY}/v2/"], stdout=subprocess.DEVNULL).returncode != 0:
        time.sleep(0.1)
    return process


def content(source, length):
    """Bytes that compress to about a third, as programs and texts do."""
    words = [source.randbytes(4) for _ in range(256)]
    return b"".join(words[byte] for byte in source.randbytes(length // 4 + 1))[:length]


def many_files(data, layers=5, files=10_000, size=20_000):
    """An OCI layout of `layers` layers, 50,000 files and a gigabyte in all, pushed as `big`."""
    layout = data + "/layout"
    if os.path.exists(layout):
        return
    os.makedirs(layout + "/blobs/sha256")
    source = random.Random(1)

    def blob(content):
        digest = hashlib.sha256(content).hexdigest()
        with open(f"{layout}/blobs/sha256/{digest}", "wb") as file:
            file.write(content)
        return f"sha256:{digest}", len(content)

    descriptors, diff_ids = [], []
    for layer in range(layers):
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            for number in range(files):
                info = tarfile.TarInfo(f"usr/share/{layer}/{number // 100}/{number}")
                info.size = source.randrange(2 * size)
                archive.addfile(info, io.BytesIO(content(source, info.size)))
        plain = tar.getvalue()
        diff_ids.append("sha256:" + hashlib.sha256(plain).hexdigest())
        digest, length = blob(gzip.compress(plain, 6))
        descriptors.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": length})
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    digest, length = blob(json.dumps(config).encode())
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": length},
                "layers": descriptors}
    digest, length = blob(json.dumps(manifest).encode())
    with open(layout + "/index.json", "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [
            {"mediaType": manifest["mediaType"], "digest": digest, "size": length,
             "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}, file)
    with open(layout + "/oci-layout", "w") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)
    subprocess.run(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{REGISTRY}/big:latest"],
                   check=True)


def pull(engines, rounds, data, interleave):
    """A pull of the whole image; what an earlier round pulled is removed before, and not timed."""
    process = registry(data)
    try:
        many_files(data)

        def case(engine, *flags):
            def run():
                engine.run("rmi", "-f", f"{REGISTRY}/big:latest", check=False)
                subprocess.run(["sync", "-f", data], check=True)
                return engine.time("pull", "-q", *flags, f"{REGISTRY}/big:latest")
            return run

        cases = [(name, case(engine, *(["--tls-verify=false"] if name == "podman" else []))) for name, engine in engines.items()]
        return interleave(max(3, rounds // 5), cases)
    finally:
        process.terminate()
        process.wait()


def context(data, files=2_000, size=250_000):
    """Half a gigabyte of files, and a Dockerfile of thirty steps."""
    tree = data + "/context"
    if os.path.exists(tree):
        return tree
    source = random.Random(2)
    for number in range(files):
        directory = f"{tree}/src/{number // 50}"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/{number}", "wb") as file:
            file.write(source.randbytes(size))
    lines = ["FROM busybox", "WORKDIR /src", "COPY src /src"]
    lines += [f"RUN echo {number} > /step{number}" for number in range(14)]
    lines += [f"ENV STEP{number}={number}" for number in range(13)]
    with open(tree + "/Dockerfile", "w") as file:
        file.write("\n".join(lines) + "\n")
    return tree


def rebuild(engines, rounds, data, interleave):
    """The second build of the same context; the classic builder of Docker, and ours."""
    tree = context(data)
    for name in ("orlop", "docker"):
        engines[name].run("build", "-q", "-t", "built", tree)
    result = interleave(max(3, rounds // 5), [
        (name, lambda e=engines[name]: e.time("build", "-q", "-t", "built", tree)) for name in ("orlop", "docker")])
    shutil.rmtree(tree)
    return result
