//! The servers of the tests: S3, restic's REST protocol, SSH; each on a port of its own, ended with the test.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backup::{Location, Place, S3Keys};
use testkit::{BackupServer, LOGIN, S3_BUCKET, S3_KEY, is_installed, ssh_arguments};

use crate::world::{Restic, World};

/// A place of some kind, with its server, and how restic gets there.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) restic: Option<Restic>,
    pub(crate) server: Option<BackupServer>,
    /// Where the files of the repository are on this host.
    pub(crate) files: Option<PathBuf>,
}

pub(crate) fn directory(world: &World) -> Kind {
    Kind {
        name: "directory",
        place: world.place(),
        restic: world.restic(),
        server: None,
        files: Some(world.path("repository")),
    }
}

pub(crate) fn object_store(world: &World) -> Option<Kind> {
    let server = BackupServer::s3(&world.path(""))?;
    let port = server.port;
    let location = format!("s3:http://127.0.0.1:{port}/{S3_BUCKET}/some/prefix");
    let mut place = Place::new(Location::parse(&location).unwrap());
    place.s3 = Some(S3Keys {
        access_key: S3_KEY.to_owned(),
        secret_key: S3_KEY.to_owned(),
        session_token: None,
        region: None,
        path_style: true,
    });
    let restic = Restic::on(&location, &world.path("cache")).map(|mut restic| {
        for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            restic.environment.push((key.into(), S3_KEY.into()));
        }
        restic
    });
    Some(Kind {
        name: "object store",
        place,
        restic,
        server: Some(server),
        files: None,
    })
}

pub(crate) fn rest(world: &World) -> Option<Kind> {
    let (user, password) = LOGIN.split_once(':').unwrap();
    let server = BackupServer::rest(&world.path(""), &["--user", user, "--pass", password])?;
    let port = server.port;
    let location = format!("rest:http://{LOGIN}@127.0.0.1:{port}/");
    Some(Kind {
        name: "REST server",
        place: Place::new(Location::parse(&location).unwrap()),
        restic: Restic::on(&location, &world.path("cache")),
        files: Some(server.files.clone()),
        server: Some(server),
    })
}

/// A REST server with TLS, for which an authority of its own vouches; and the authority's certificate, which the place does not
/// have.
pub(crate) fn rest_with_tls(world: &World) -> Option<(Kind, String)> {
    if !is_installed("openssl") {
        return None;
    }
    let [authority, authority_key, certificate, key] =
        ["authority", "authority-key", "certificate", "key"].map(|name| world.path(name));
    let openssl = |certificate: &Path, key: &Path, more: &[&str]| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2"])
            .args(more)
            .arg("-keyout")
            .arg(key)
            .arg("-out")
            .arg(certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    };
    openssl(&authority, &authority_key, &["-subj", "/CN=authority"]);
    let by = [
        "-subj",
        "/CN=backups.test",
        "-addext",
        "subjectAltName=DNS:backups.test,IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-CA",
        authority.to_str().unwrap(),
        "-CAkey",
        authority_key.to_str().unwrap(),
    ];
    openssl(&certificate, &key, &by);
    let with = [
        "--cert",
        certificate.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    let server = BackupServer::rest(&world.path(""), &with)?;
    let port = server.port;
    let location = format!("rest:https://127.0.0.1:{port}/");
    let mut place = Place::new(Location::parse(&location).unwrap());
    place.retries = 0;
    let kind = Kind {
        name: "REST server with TLS",
        place,
        restic: None,
        files: Some(server.files.clone()),
        server: Some(server),
    };
    Some((kind, std::fs::read_to_string(authority).unwrap()))
}

/// A proxy that connects everybody to this host, whatever the name is that they ask for.
pub(crate) struct Proxy {
    pub(crate) address: String,
    pub(crate) asked: Arc<AtomicUsize>,
}

pub(crate) fn proxy() -> Proxy {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // It ends with the program.
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, count) = (client.unwrap(), Arc::clone(&count));
            std::thread::spawn(move || tunnel(client, &count).ok());
        }
    });
    Proxy { address, asked }
}

fn tunnel(mut client: TcpStream, asked: &AtomicUsize) -> io::Result<()> {
    use io::{Read as _, Write as _};
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let port = target
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    let (true, Some(port)) = (head.starts_with("CONNECT "), port) else {
        return client.write_all(b"HTTP/1.1 405 No\r\n\r\n");
    };
    asked.fetch_add(1, Ordering::SeqCst);
    let server = TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || io::copy(&mut from, &mut to).ok());
    let mut server = server;
    io::copy(&mut client, &mut server).map(drop)
}

pub(crate) fn sftp(world: &World) -> Option<Kind> {
    let server = BackupServer::sftp(&world.path(""))?;
    let (port, files) = (server.port, server.files.clone());
    let location = format!("sftp://root@127.0.0.1:{port}/{}", files.display());
    let mut place = Place::new(Location::parse(&location).unwrap());
    place.ssh = ssh_arguments(&world.path(""), "user");
    let restic = Restic::on(&location, &world.path("cache")).map(|mut restic| {
        let ssh = place.ssh.join(" ");
        restic.options = vec![
            "-o".to_owned(),
            format!("sftp.command=ssh {ssh} -p {port} root@127.0.0.1 -s sftp"),
        ];
        restic
    });
    Some(Kind {
        name: "SFTP",
        place,
        restic,
        server: Some(server),
        files: Some(files),
    })
}
