"""testcontainers-python with a real database and a real cache.

Its reaper (Ryuk) is an image of Docker Hub, which a build machine may not reach: the environment turns it off, as users do.
"""

import os
import pathlib
import subprocess

import docker
import pymysql
import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import wait_for_logs
from testcontainers.mysql import MySqlContainer
from testcontainers.redis import RedisContainer
from wait import until

# What the official image does: a server to set up with, then the one that stays.
START = r"""#!/bin/bash
set -e
mkdir -p /run/mysqld && chown mysql /run/mysqld /var/lib/mysql
if ! [ -d /var/lib/mysql/mysql ]; then
    mariadb-install-db --user=mysql >/dev/null
    mariadbd --user=mysql --skip-networking &
    until mariadb -e 'select 1' >/dev/null 2>&1; do sleep 0.1; done
    mariadb -e "create database $MYSQL_DATABASE; create user '$MYSQL_USER'@'%' identified by '$MYSQL_PASSWORD'; \
        grant all on *.* to '$MYSQL_USER'@'%'"
    kill %1
    wait %1
fi
exec mariadbd --user=mysql --bind-address=0.0.0.0
"""


@pytest.fixture(scope="module", autouse=True)
def images(tmp_path_factory):
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    from testcontainers.core.config import testcontainers_config
    testcontainers_config.ryuk_disabled = True
    client = docker.from_env()
    archive = pathlib.Path(os.environ["IMAGES"]) / "servers.tar"
    subprocess.run([os.environ["ORLOP"], "import", archive, "servers"], check=True, capture_output=True)
    context = tmp_path_factory.mktemp("image")
    (context / "start").write_text(START)
    (context / "start").chmod(0o755)
    (context / "Dockerfile").write_text(
        "FROM servers\nCOPY start /start\nVOLUME /var/lib/mysql\nEXPOSE 3306\nCMD [\"/start\"]\n")
    client.images.build(path=str(context), tag="mariadb:suite")
    (context / "Dockerfile").write_text(
        "FROM servers\nEXPOSE 6379\nCMD [\"redis-server\", \"--protected-mode\", \"no\", \"--bind\", \"0.0.0.0\"]\n")
    client.images.build(path=str(context), tag="redis:suite")
    yield
    assert client.containers.list(all=True) == [], "a container outlived its block"
    assert client.volumes.list() == [], "an anonymous volume outlived its container"


def test_a_database():
    with MySqlContainer("mariadb:suite", username="somebody", password="secret", dbname="things") as database:
        connection = pymysql.connect(
            host=database.get_container_host_ip(), port=int(database.get_exposed_port(3306)), user="somebody",
            password="secret", database="things")
        with connection.cursor() as cursor:
            cursor.execute("create table t (x int primary key, y text)")
            cursor.executemany("insert into t values (%s, %s)", [(number, "y" * number) for number in range(100)])
            connection.commit()
            cursor.execute("select count(*), sum(length(y)) from t")
            assert cursor.fetchone() == (100, sum(range(100)))
        connection.close()


def test_a_cache():
    with RedisContainer("redis:suite") as cache:
        client = cache.get_client()
        client.set("key", "value")
        assert client.get("key") == b"value"


def test_a_container_of_its_own():
    with DockerContainer("busybox").with_command("sh -c 'echo ready $A; sleep 1000'").with_env("A", "b") as container:
        wait_for_logs(container, "ready b", timeout=30)
        code, output = container.exec("cat /etc/hostname")
        assert code == 0 and output.strip()


def test_files_and_volumes(tmp_path):
    (tmp_path / "file").write_text("mounted")
    with DockerContainer("busybox").with_volume_mapping(str(tmp_path), "/in", "ro").with_command("sleep 1000") as container:
        assert container.exec("cat /in/file").output == b"mounted"
        assert container.exec("touch /in/x").exit_code != 0


def test_a_network():
    with Network() as network:
        with DockerContainer("busybox").with_network(network).with_network_aliases("server").with_command("sleep 1000"):
            with DockerContainer("busybox").with_network(network).with_command("sleep 1000") as guest:
                assert guest.exec("ping -c 1 -W 5 server").exit_code == 0


def test_a_container_that_ends_is_seen():
    with DockerContainer("busybox").with_command("sh -c 'exit 3'") as container:
        wrapped = container.get_wrapped_container()
        until("it has ended", lambda: (wrapped.reload(), wrapped.status)[1] == "exited")
        assert wrapped.attrs["State"]["ExitCode"] == 3
