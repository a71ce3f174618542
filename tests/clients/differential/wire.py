"""Requests over a unix socket, and answers in a form that can be compared.

An answer is status, the headers that clients look at, and a body: JSON as it is, newline-separated JSON as a list, a
multiplexed stream as its frames, a tar as its entries, else text.
"""

import base64
import http.client
import io
import json
import socket
import struct
import tarfile
import time

# What clients decide by. The rest (Date, Server, Content-Length) is told by no client from its absence.
HEADERS = (
    "Content-Type", "Api-Version", "Ostype", "Docker-Experimental", "Builder-Version", "Swarm", "Cache-Control", "Pragma",
    "Location", "Upgrade", "Connection", "X-Docker-Container-Path-Stat",
)


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def ask(path, method, target, body=None, headers=None):
    """One request on a connection of its own: (status, headers, body)."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    if isinstance(body, str):
        body = body.encode()
        headers.setdefault("Content-Type", "application/json")
    connection = Connection(path)
    try:
        try:
            connection.request(method, target, body, headers)
        except BrokenPipeError:
            # It answers before it has read everything.
            pass
        answer = connection.getresponse()
        if answer.status == 101:
            # The stream is behind what the parser has buffered.
            data = answer.fp.read()
        else:
            data = answer.read()
    finally:
        connection.close()
    seen = {name: answer.headers[name] for name in HEADERS if answer.headers[name] is not None}
    stat = seen.get("X-Docker-Container-Path-Stat")
    if stat:
        seen["X-Docker-Container-Path-Stat"] = json.loads(base64.b64decode(stat))
    return answer.status, seen, read(data, seen.get("Content-Type", ""))


def read(data, kind):
    if not data:
        return None
    if "json" in kind:
        text = data.decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError:
            return lines(text)
    if "tar" in kind or data[257:262] == b"ustar":
        return entries(data)
    if "multiplexed" in kind or "raw-stream" in kind:
        return frames(data)
    return data.decode("utf-8", "replace")


def lines(text):
    values = []
    for line in text.splitlines():
        if line.strip():
            try:
                values.append(json.loads(line))
            except ValueError:
                values.append(line)
    return values


def entries(data):
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                found[entry.name] = {
                    "type": entry.type.decode(), "mode": oct(entry.mode), "uid": entry.uid, "gid": entry.gid,
                    "size": entry.size, "link": entry.linkname,
                }
    except tarfile.TarError as error:
        return f"no tar: {error}"
    return found


def frames(data):
    """What each stream carried; how it was cut into frames is chance."""
    streams = {}
    at = 0
    while at + 8 <= len(data):
        stream, zero, size = data[at], data[at + 1:at + 4], struct.unpack(">I", data[at + 4:at + 8])[0]
        if stream > 3 or zero != b"\0\0\0" or at + 8 + size > len(data):
            return data.decode("utf-8", "replace")
        text = data[at + 8:at + 8 + size].decode("utf-8", "replace")
        streams[str(stream)] = streams.get(str(stream), "") + text
        at += 8 + size
    return streams if at == len(data) else data.decode("utf-8", "replace")


def until(what, condition, seconds=30):
    """Waits for a condition, bounded."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return value
