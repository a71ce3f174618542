//! S40–S43: backup, restore, upgrade, and a database cluster's walk-through.

use testkit::until;

use super::{Scenario, Scene};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("s40_backup_and_restore", s40),
    ("s42_upgrade_of_a_database", s42),
    ("s43_a_database_on_a_data_container", s43),
];

/// Starts a database on `/var/lib/mysql`, made when it is empty, which `app` with the password `app` may use from anywhere.
pub(super) const MARIADB: &str = "set -e
mkdir -p /run/mysqld; chown mysql /run/mysqld
[ -d /var/lib/mysql/mysql ] || mariadb-install-db --user=mysql --skip-test-db --auth-root-authentication-method=normal >/dev/null
printf \"%s\\n\" \"delete from mysql.global_priv where User='';\" \"flush privileges;\" \"create user if not exists app@'%' identified by 'app';\" \"grant all on *.* to app@'%';\" >/tmp/init.sql
chown mysql /tmp/init.sql
exec mariadbd --user=mysql --bind-address=0.0.0.0 --skip-name-resolve --init-file=/tmp/init.sql";

/// Waits until the database in a container takes questions.
#[track_caller]
pub(super) fn until_database(scene: &Scene, container: &str) {
    until("the database answers", || {
        let asked = scene.run_and(
            &format!("exec %{container} mariadb -h 127.0.0.1 -u app -papp -e"),
            &["select 1"],
        );
        if asked.code != 0 && scene.inspect(container, "{{.State.Running}}") != "true" {
            panic!("{}", scene.run(&format!("logs %{container}")));
        }
        (asked.code == 0).then_some(())
    });
}

/// S40 and S41: the tutorial's own commands.
fn s40(scene: &Scene) {
    let here = scene.directory("pwd");
    let here = here.display();
    scene
        .run_and(
            "run --name %dbdata -v /dbdata busybox sh -c",
            &["umask 027; mkdir /dbdata/d; echo precious > /dbdata/d/f; chown -R 33:4 /dbdata/d"],
        )
        .ok();
    let listed = scene
        .run(&format!("run --volumes-from %dbdata -v {here}:/backup --name %worker busybox tar cvf /backup/backup.tar /dbdata"))
        .ok();
    assert!(listed.contains("dbdata/d/f"), "{listed}");
    scene.run("rm -v %worker %dbdata").ok();
    scene
        .run("run -v /dbdata --name %dbdata2 busybox true")
        .ok();
    scene
        .run(&format!(
            "run --rm --volumes-from %dbdata2 -v {here}:/backup busybox tar xvf /backup/backup.tar"
        ))
        .ok();
    let seen = scene
        .run_and(
            "run --rm --volumes-from %dbdata2 busybox sh -c",
            &["cat /dbdata/d/f; stat -c '%u %g %a' /dbdata/d/f"],
        )
        .ok();
    assert_eq!(seen, "precious\n33 4 640");
    scene.run("rm -v %dbdata2").ok();
}

fn s42(scene: &Scene) {
    let newer = format!("{}-newer", scene.prefix);
    scene.run("create --name %base debian true").ok();
    scene
        .run_and("commit -c", &["ENV RELEASE=2", &scene.name("base"), &newer])
        .ok();
    let server = "redis-server --dir /var/lib/redis --bind 0.0.0.0 --protected-mode no --save 3600";
    scene
        .run(&format!(
            "run -d --name %db -v %dbfiles:/var/lib/redis debian {server} 1"
        ))
        .ok();
    until("redis answers", || {
        (scene.run("exec %db redis-cli ping").stdout.trim() == "PONG").then_some(())
    });
    scene
        .run_and(
            "exec %db redis-cli set greeting",
            &["hello over the upgrade"],
        )
        .ok();
    scene.run("stop %db").ok();
    assert_eq!(
        scene.inspect("db", "{{.State.ExitCode}}"),
        "0",
        "the server saved and ended by itself"
    );
    scene.run("rm %db").ok();
    scene
        .run(&format!(
            "run -d --name %db -v %dbfiles:/var/lib/redis {newer} {server} 1"
        ))
        .ok();
    until("redis answers", || {
        (scene.run("exec %db redis-cli ping").stdout.trim() == "PONG").then_some(())
    });
    assert_eq!(
        scene.run("exec %db redis-cli get greeting").ok(),
        "hello over the upgrade"
    );
    assert_eq!(scene.sh("db", "echo $RELEASE").ok(), "2");
    scene.run("rm -f %db %base").ok();
    scene.run("volume rm %dbfiles").ok();
    scene.run(&format!("rmi {newer}")).ok();
}

/// The Cassandra walk-through with a database that Debian ships: node, client on a terminal, second node.
fn s43(scene: &Scene) {
    scene
        .run("create --name %cass-data --volume /var/lib/mysql debian true")
        .ok();
    scene
        .run_and(
            "run -d --name %cass1 --volumes-from %cass-data debian sh -c",
            &[MARIADB],
        )
        .ok();
    until_database(scene, "cass1");
    let mut client =
        scene.terminal("run -it --rm --link %cass1:cass debian mariadb -h cass -u app -papp");
    client.expect("MariaDB [(none)]>");
    client.send("create database demo_keyspace;\r");
    client.expect("Query OK");
    client.send(
        "create table demo_keyspace.t (v text); insert into demo_keyspace.t values ('survives');\r",
    );
    client.expect("Query OK");
    client.send("exit\r");
    let (code, screen) = client.finish();
    assert_eq!(code, 0, "{screen}");
    scene.run("stop %cass1").ok();
    scene.run("rm -vf %cass1").ok();
    scene
        .run_and(
            "run -d --name %cass2 --volumes-from %cass-data debian sh -c",
            &[MARIADB],
        )
        .ok();
    until_database(scene, "cass2");
    let seen = scene
        .run_and(
            "run --rm --link %cass2:cass debian mariadb -N -h cass -u app -papp -e",
            &["show databases; select v from demo_keyspace.t"],
        )
        .ok();
    assert!(
        seen.contains("demo_keyspace") && seen.contains("survives"),
        "{seen}"
    );
    scene.run("rm -vf %cass2 %cass-data").ok();
}
