//! S50–S54: real servers on volumes.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::process::Command;

use testkit::{Running, images_dir, until};

use super::backup::{MARIADB, until_database};
use super::{Scenario, Scene, http};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("s50_a_web_server_serves_a_host_directory", s50),
    ("s51_logs_on_the_host", s51),
    ("s52_logs_across_containers", s52),
    ("s53_writer_and_reader", s53),
    ("s54_mariadb_on_a_named_volume", s54),
    ("s54a_nginx_on_a_bind_mount", s54a),
    ("s54b_redis_on_volume_and_tmpfs", s54b),
];

fn s50(scene: &Scene) {
    let docs = scene.directory("example-docs");
    let port = scene.port(50);
    let url = format!("http://localhost:{port}/");
    for mode in ["", ":ro"] {
        fs::write(docs.join("index.html"), "first\n").unwrap();
        scene
            .run(&format!("run -d --name %bmweb -v {}:/var/www/html{mode} -p {port}:80 debian apachectl -D FOREGROUND", docs.display()))
            .ok();
        assert_eq!(
            until("apache answers", || http(&url)
                .filter(|page| !page.is_empty())),
            "first\n"
        );
        fs::write(docs.join("index.html"), "edited on the host\n").unwrap();
        assert_eq!(http(&url).unwrap(), "edited on the host\n");
        let write = scene.sh("bmweb", "echo x > /var/www/html/inside");
        assert_eq!(write.code == 0, mode.is_empty(), "{write}");
        assert_eq!(
            scene.run("port %bmweb 80/tcp").ok().lines().next().unwrap(),
            format!("0.0.0.0:{port}")
        );
        scene.run("rm -f %bmweb").ok();
        assert!(http(&url).is_none(), "nothing listens any more");
    }
}

fn s51(scene: &Scene) {
    let logs = scene.directory("myhttpd");
    let port = scene.port(51);
    scene
        .run(&format!(
            "run -d --name %web -v {}:/var/log/apache2 -p {port}:80 debian apachectl -D FOREGROUND",
            logs.display()
        ))
        .ok();
    until("apache answers", || {
        http(&format!("http://127.0.0.1:{port}/"))
    });
    let tail = Running::start(
        Command::new("tail")
            .args(["-n", "+1", "-f"])
            .arg(logs.join("access.log")),
    );
    for page in ["/one", "/two"] {
        http(&format!("http://127.0.0.1:{port}{page}"));
        tail.expect(&format!("GET {page} HTTP"));
    }
    scene.run("rm -f %web").ok();
    assert!(logs.join("access.log").exists());
}

fn s52(scene: &Scene) {
    let port = scene.port(52);
    let image = format!("{}-apache2log", scene.prefix);
    let busybox = images_dir().join("busybox.tar");
    scene
        .run_and(
            "import --change",
            &[
                "VOLUME /var/log/apache2",
                "--change",
                "CMD [\"/bin/true\"]",
                busybox.to_str().unwrap(),
                &image,
            ],
        )
        .ok();
    scene.run(&format!("run --name %log_vol {image}")).ok();
    scene
        .run(&format!(
            "run -d --name %web --volumes-from %log_vol -p {port}:80 debian apachectl -D FOREGROUND"
        ))
        .ok();
    until("apache answers", || {
        http(&format!("http://127.0.0.1:{port}/seen"))
    });
    let listed = scene
        .run("run --rm --volumes-from %log_vol busybox ls -l /var/log/apache2")
        .ok();
    assert!(
        listed.contains("access.log") && listed.contains("error.log"),
        "{listed}"
    );
    until("the log is read across containers", || {
        let seen = scene
            .run("run --rm --volumes-from %log_vol busybox tail /var/log/apache2/access.log")
            .ok();
        seen.contains("GET /seen").then_some(())
    });
    scene.run("rm -fv %web %log_vol").ok();
    scene.run(&format!("rmi {image}")).ok();
}

fn s53(scene: &Scene) {
    let directory = scene.directory("pair");
    let write = "i=0; while :; do i=$((i+1)); echo line $i >> /data/log; sleep 0.05; done";
    for source in [directory.to_str().unwrap(), "%pair"] {
        scene
            .run_and(
                &format!("run -d --name %writer -v {source}:/data busybox sh -c"),
                &[write],
            )
            .ok();
        scene
            .run_and(
                &format!("run -d --name %reader -v {source}:/data:ro busybox sh -c"),
                &["until [ -f /data/log ]; do sleep 0.05; done; exec tail -f /data/log"],
            )
            .ok();
        scene.until_logs("reader", "line 3\n");
        scene.run("rm -f %writer %reader").ok();
    }
    assert!(directory.join("log").exists() && scene.data("pair").join("log").exists());
    scene.run("volume rm %pair").ok();
}

fn s54(scene: &Scene) {
    let port = scene.port(54);
    scene
        .run_and(
            &format!("run -d --name %db -v %dbvol:/var/lib/mysql -p {port}:3306 debian sh -c"),
            &[MARIADB],
        )
        .ok();
    until_database(scene, "db");
    // The server greets first: a byte stream through the published port.
    let greeting = until("the database greets", || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        let mut buffer = [0; 128];
        let length = stream.read(&mut buffer).ok()?;
        (length > 0).then(|| String::from_utf8_lossy(&buffer[..length]).into_owned())
    });
    assert!(greeting.contains("MariaDB"), "{greeting}");
    scene
        .run_and(
            "exec %db mariadb -u app -papp -h 127.0.0.1 -e",
            &["create database kept"],
        )
        .ok();
    // Owner and mode of the volume came from the image.
    use std::os::unix::fs::MetadataExt as _;
    assert_ne!(fs::metadata(scene.data("dbvol")).unwrap().uid(), 0);
    scene.run("stop %db").ok();
    scene.run("rm %db").ok();
    scene
        .run_and(
            "run -d --name %db -v %dbvol:/var/lib/mysql debian sh -c",
            &[MARIADB],
        )
        .ok();
    until_database(scene, "db");
    let seen = scene
        .run_and(
            "exec %db mariadb -N -u app -papp -h 127.0.0.1 -e",
            &["show databases"],
        )
        .ok();
    assert!(seen.contains("kept"), "{seen}");
    scene.run("rm -f %db").ok();
    scene.run("volume rm %dbvol").ok();
}

fn s54a(scene: &Scene) {
    let html = scene.directory("html");
    let port = scene.port(55);
    fs::write(html.join("index.html"), "nginx\n").unwrap();
    scene
        .run_and(&format!("run -d --name %nginx -v {}:/var/www/html:ro -p 127.0.0.1:{port}:80 debian nginx -g", html.display()), &["daemon off;"])
        .ok();
    let url = |host: &str| format!("http://{host}:{port}/");
    assert_eq!(
        until("nginx answers", || http(&url("127.0.0.1"))),
        "nginx\n"
    );
    assert!(
        http(&url("192.0.2.1")).is_none(),
        "published on the loopback address only"
    );
    fs::write(html.join("page.html"), "new\n").unwrap();
    assert_eq!(
        http(&format!("http://127.0.0.1:{port}/page.html")).unwrap(),
        "new\n"
    );
    scene.run("stop %nginx").ok();
    assert_eq!(scene.inspect("nginx", "{{.State.ExitCode}}"), "0");
    scene.run("rm %nginx").ok();
}

fn s54b(scene: &Scene) {
    let server = "redis-server --dir /data --appendonly yes --save 3600 1";
    let ping = |name: &str| {
        until("redis answers", || {
            (scene
                .run(&format!("exec %{name} redis-cli ping"))
                .stdout
                .trim()
                == "PONG")
                .then_some(())
        });
    };
    for (mount, kept) in [
        ("-v %redis:/data", "value"),
        ("--tmpfs /data", ""),
        ("--mount type=tmpfs,dst=/data", ""),
    ] {
        scene
            .run(&format!("run -d --name %redis {mount} debian {server}"))
            .ok();
        ping("redis");
        scene.run("exec %redis redis-cli set key value").ok();
        scene.run("restart -t 10 %redis").ok();
        ping("redis");
        assert_eq!(
            scene.run("exec %redis redis-cli get key").ok(),
            kept,
            "{mount}"
        );
        scene.run("rm -f %redis").ok();
    }
    scene.run("volume rm %redis").ok();
}
