//! Who may use a registry: certificates, passwords, helpers that keep them, tokens.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use testkit::{Output, Registry, RegistryOptions, Terminal};

use super::fake_registry::{Fake, Image, Reply, pipe};
use super::registry::{GZIP, local, tar};
use super::{Scenario, Scene, host};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("r03_tls_with_an_authority_of_its_own", r03),
    ("r04_logins", r04),
    ("r08_tokens", r08),
    ("r11_a_password_is_asked_for", r11),
];

fn r03(scene: &Scene) {
    // Loopback registries need no certificate that anybody knows; others do.
    let outside = "192.0.2.1";
    let (ca, certificate, key) = certificates(&scene.directory("certificates"), outside);
    let registry = Registry::start(
        &scene.directory("registry"),
        outside,
        &RegistryOptions {
            tls: Some((certificate, key)),
            passwords: None,
        },
    );
    let ours = local(scene, "first");
    let name = format!("{}/first", registry.address);
    scene.run(&format!("tag {ours} {name}")).ok();
    scene
        .run(&format!("push {name}"))
        .fails(1, "x509: certificate signed by unknown authority");
    let trusted = Path::new("/etc/docker/certs.d").join(&registry.address);
    fs::create_dir_all(&trusted).unwrap();
    fs::copy(ca, trusted.join("ca.crt")).unwrap();
    scene.run(&format!("push {name}")).ok();
    scene.run(&format!("rmi {ours} {name}")).ok();
    let pulled = scene.run(&format!("pull {name}"));
    fs::remove_dir_all(&trusted).unwrap();
    pulled.ok();
    scene.run(&format!("rmi {name}")).ok();
}

fn r04(scene: &Scene) {
    let passwords = scene.directory("passwords").join("htpasswd");
    let entry = host("htpasswd", &["-Bbn", "me", "secret"]);
    fs::write(&passwords, entry.trim()).unwrap();
    let registry = Registry::start(
        &scene.directory("registry"),
        "127.0.0.1",
        &RegistryOptions {
            tls: None,
            passwords: Some(passwords),
        },
    );
    let server = &registry.address;
    let ours = local(scene, "first");
    let name = format!("{server}/first");
    scene.run(&format!("tag {ours} {name}")).ok();
    let config = scene.directory("config");
    let run = |line: &str, input: &[u8]| run_as(scene, &config, line, input);
    run(&format!("push {name}"), b"").fails(1, "no basic auth credentials");
    run(&format!("login -u me --password-stdin {server}"), b"wrong").fails(1, "401 Unauthorized");
    assert!(
        !fs::read_to_string(config.join("config.json"))
            .unwrap_or_default()
            .contains("auth\"")
    );
    run(&format!("login --password-stdin {server}"), b"x").fails(1, "--username");
    let login = run(
        &format!("login -u me --password-stdin {server}"),
        b"secret\n",
    );
    assert!(login.ok().ends_with("Login Succeeded"));
    assert!(login.stderr.contains("stored unencrypted in"));
    // base64 of me:secret
    let kept = fs::read_to_string(config.join("config.json")).unwrap();
    assert!(kept.contains("bWU6c2VjcmV0"), "{kept}");
    run(&format!("push {name}"), b"").ok();
    scene.run(&format!("rmi {ours} {name}")).ok();
    run(&format!("pull {name}"), b"").ok();
    let again = run(&format!("login {server}"), b"");
    assert!(again.ok().ends_with("Login Succeeded"));
    let out = run(&format!("logout {server}"), b"");
    assert_eq!(out.ok(), format!("Removing login credentials for {server}"));
    run(&format!("pull {name}:other"), b"").fails(1, "no basic auth credentials");

    // A helper keeps the password; the file only knows the helper.
    let helper = config.join("docker-credential-test");
    let script = r#"#!/bin/sh
dir=$(dirname "$0")
case $1 in
store) cat > "$dir/kept" ;;
get) cat > /dev/null; [ -f "$dir/kept" ] || { echo "credentials not found in native keychain"; exit 1; }; cat "$dir/kept" ;;
erase) cat > /dev/null; rm -f "$dir/kept" ;;
esac
"#;
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(
        config.join("config.json"),
        json!({ "credHelpers": { server.as_str(): "test" } }).to_string(),
    )
    .unwrap();
    let login = run(&format!("login -u me -p secret {server}"), b"");
    assert!(login.ok().ends_with("Login Succeeded"), "{login}");
    let kept = fs::read_to_string(config.join("config.json")).unwrap();
    assert!(!kept.contains("bWU6c2VjcmV0"), "{kept}");
    run(&format!("pull {name}"), b"").ok();
    run(&format!("logout {server}"), b"").ok();
    assert!(!config.join("kept").exists());
    run(&format!("pull {name}"), b"").fails(1, "no basic auth credentials");
    scene.run(&format!("rmi {name}")).ok();
}

fn r08(scene: &Scene) {
    let stream = tar(scene, "tokens");
    let image = Image::new(&stream, &pipe("gzip", &["-1c"], &stream), GZIP);
    let service = Fake::start(|asked| {
        let anonymous = asked.header("authorization").is_empty();
        // base64 of user:pass
        let known = asked.header("authorization") == "Basic dXNlcjpwYXNz";
        let private = asked.path.contains("private");
        if !asked.path.contains("service=test") {
            return Reply::new(400, "");
        }
        match (known, private) {
            (true, true) => Reply::new(200, r#"{"token":"for-private","expires_in":300}"#),
            (_, false) if anonymous || known => Reply::new(200, r#"{"access_token":"for-public"}"#),
            _ => Reply::new(401, r#"{"details":"incorrect username or password"}"#),
        }
    });
    let realm = format!("http://{}/token", service.address);
    let fake = Fake::start(move |asked| {
        let wanted = if asked.path.contains("/private/") {
            "Bearer for-private"
        } else {
            "Bearer for-public"
        };
        if asked.header("authorization") == wanted
            || asked.path == "/v2/" && !asked.header("authorization").is_empty()
        {
            return if asked.path == "/v2/" {
                Reply::new(200, "{}")
            } else {
                image.answer(asked)
            };
        }
        Reply::new(401, "{}").with(
            "WWW-Authenticate",
            format!("Bearer realm=\"{realm}\",service=\"test\""),
        )
    });
    let config = scene.directory("config");
    fs::write(
        config.join("config.json"),
        json!({ "auths": { fake.address.as_str(): { "auth": "dXNlcjpwYXNz" } } }).to_string(),
    )
    .unwrap();
    let public = format!("{}/public/x", fake.address);
    let private = format!("{}/private/x", fake.address);
    scene.run(&format!("pull {public}")).ok();
    scene
        .run(&format!("pull {private}"))
        .fails(1, "unauthorized: incorrect username or password");
    run_as(scene, &config, &format!("pull {private}"), b"").ok();
    let asked = service.asked();
    let scope = "scope=repository%3Aprivate%2Fx%3Apull";
    assert!(asked.iter().any(|line| line.contains(scope)), "{asked:?}");
    scene.run(&format!("rmi {public} {private}")).ok();
}

fn r11(scene: &Scene) {
    let passwords = scene.directory("passwords").join("htpasswd");
    let entry = host("htpasswd", &["-Bbn", "me", "secret"]);
    fs::write(&passwords, entry.trim()).unwrap();
    let registry = Registry::start(
        &scene.directory("registry"),
        "127.0.0.1",
        &RegistryOptions {
            tls: None,
            passwords: Some(passwords),
        },
    );
    let config = scene.directory("config");
    let words = ["login", &registry.address];
    let mut command = scene.client.command(&scene.engine, &words);
    command.env("DOCKER_CONFIG", &config);
    let mut terminal = Terminal::start(&command);
    terminal.expect("Username");
    terminal.send("me\n");
    terminal.expect("Password");
    terminal.send("secret\n");
    terminal.expect("Login Succeeded");
    let (code, screen) = terminal.finish();
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains("secret"), "{screen}");
}

/// A certificate for an address, and the authority that signed it.
fn certificates(directory: &Path, address: &str) -> (PathBuf, PathBuf, PathBuf) {
    let at = |name: &str| directory.join(name);
    let text = |name: &str| at(name).to_str().unwrap().to_owned();
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ];
    let mut request = vec!["req", "-x509", "-days", "2", "-subj", "/CN=Test authority"];
    request.extend(key);
    let (ca_key, ca, server_key, csr, server, extensions) = (
        text("ca.key"),
        text("ca.crt"),
        text("server.key"),
        text("server.csr"),
        text("server.crt"),
        text("extensions"),
    );
    request.extend(["-keyout", &ca_key, "-out", &ca]);
    host("openssl", &request);
    let mut request = vec!["req", "-subj", "/CN=server"];
    request.extend(key);
    request.extend(["-keyout", &server_key, "-out", &csr]);
    host("openssl", &request);
    fs::write(at("extensions"), format!("subjectAltName=IP:{address}\n")).unwrap();
    host(
        "openssl",
        &[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &csr,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            &extensions,
            "-out",
            &server,
        ],
    );
    (at("ca.crt"), at("server.crt"), at("server.key"))
}

/// Runs a command with a configuration directory of its own, and perhaps more in its path.
pub(super) fn run_as(scene: &Scene, config: &Path, line: &str, input: &[u8]) -> Output {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let mut command = scene.client.command(&scene.engine, &words);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("DOCKER_CONFIG", config)
        .env("PATH", format!("{}:{path}", config.display()))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command may end without reading it.
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap_or_default();
    let output = child.wait_with_output().unwrap();
    Output {
        command: line.to_owned(),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
