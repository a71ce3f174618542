//! Volumes by way of Debian's docker-registry, looked at by skopeo.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use testkit::{Client, Registry, RegistryOptions};

use super::host_there::There;
use super::{Pair, tree};

fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "skopeo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn there_and_back(host: &Arc<There>) {
    // A registry without TLS is spoken to on the own host only.
    let pair = Pair::near("registry", host);
    let directory = pair.here.root.with_extension("registry");
    let registry = Registry::start(&directory, "127.0.0.1", &RegistryOptions::default());
    let reference = format!("{}/team/data:one", registry.address);
    pair.run("volume create --label team=db data").ok();
    let data = pair.data("data");
    tree::populate(&data, 300);
    // Archives have no such type.
    fs::remove_file(data.join("kinds/socket")).unwrap();
    for name in ["a", "b", "c"] {
        tree::noise(&data.join(name), 70 << 20);
    }
    let first = pair.run(&format!("volume push --progress plain data {reference}"));
    assert!(first.ok().starts_with("sha256:"), "{first}");
    let pushed = |output: &testkit::Output| output.stderr.matches(": Pushed").count();
    assert!(pushed(&first) >= 4, "{first}");
    assert_eq!(pair.run("volume snapshot ls -q").ok(), "");
    // Nothing is sent when nothing changed, and the digest is the same.
    let again = pair.run(&format!("volume push --progress plain data {reference}"));
    assert_eq!(again.ok(), first.ok());
    assert_eq!(pushed(&again), 0, "{again}");
    // Others see an artifact.
    let manifest: serde_json::Value = serde_json::from_str(&manifest_of(&reference)).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.orlop.volume.v1");
    assert_eq!(manifest["annotations"]["vnd.orlop.volume.label.team"], "db");
    let copied = directory.join("copied");
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        &format!("docker://{reference}"),
        &format!("dir:{}", copied.display()),
    ]);
    // On the other engine it is what it was.
    let told = pair.run_there(&format!("volume pull --progress json {reference}"));
    assert_eq!(told.ok(), "data");
    assert!(
        told.stderr.contains(r#"{"action":"Downloading","id":""#),
        "{told}"
    );
    tree::assert_same(&data, &pair.data_there("data"));
    let labels = Client::Orlop.run(
        &pair.there,
        &["volume", "inspect", "data", "--format", "{{.Labels.team}}"],
    );
    assert_eq!(labels.ok(), "db");
    pair.run_there(&format!("volume pull {reference}"))
        .fails(1, "a volume named data exists already");
    // What did not change is not sent again.
    tree::noise(&data.join("b"), 70 << 20);
    let second = pair.run(&format!("volume push --progress plain data {reference}"));
    second.ok();
    assert!(pushed(&second) <= 2, "{second}");
    assert!(second.stderr.contains("already exists"), "{second}");
    pair.run_there(&format!("volume pull {reference} second"))
        .ok();
    tree::assert_same(&data, &pair.data_there("second"));
    // One is not taken for the other.
    pair.run(&format!("pull {reference}"))
        .fails(1, "is no container image");
    pair.here.load_busybox();
    let image = format!("{}/team/image:one", registry.address);
    pair.run(&format!("tag busybox {image}")).ok();
    pair.run(&format!("push {image}")).ok();
    pair.run_there(&format!("volume pull {image} x"))
        .fails(1, "is no volume");
    // A layer that was tampered with is found out, and leaves nothing.
    let now: serde_json::Value = serde_json::from_str(&manifest_of(&reference)).unwrap();
    let digest = now["layers"][0]["digest"].as_str().unwrap();
    let blob = digest.strip_prefix("sha256:").unwrap();
    let path = directory.join(format!(
        "data/docker/registry/v2/blobs/sha256/{}/{blob}/data",
        &blob[..2]
    ));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let bad = pair.run_there(&format!("volume pull {reference} bad"));
    assert_eq!(bad.code, 1, "{bad}");
    assert_eq!(pair.run_there("volume receiving ls -q").ok(), "");
    pair.run_there("volume inspect bad")
        .fails(1, "no such volume");
    drop(registry);
}

fn manifest_of(reference: &str) -> String {
    skopeo(&[
        "inspect",
        "--raw",
        "--tls-verify=false",
        &format!("docker://{reference}"),
    ])
}
