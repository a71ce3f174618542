//! bollard: what programs in Rust do with an engine.

use std::collections::HashMap;

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountType, NetworkConnectRequest, NetworkCreateRequest,
    VolumeCreateRequest,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder,
    DownloadFromContainerOptionsBuilder, EventsOptionsBuilder, KillContainerOptions,
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptions, StatsOptionsBuilder, StopContainerOptionsBuilder, TagImageOptionsBuilder,
    TopOptions, WaitContainerOptions,
};
use futures_util::StreamExt as _;
use futures_util::stream::TryStreamExt as _;
use tokio::io::AsyncWriteExt as _;

fn connect() -> Docker {
    let host = std::env::var("DOCKER_HOST").expect("the suite's runner names the engine");
    Docker::connect_with_unix(&host, 60, bollard::API_DEFAULT_VERSION).expect("a socket")
}

fn words(line: &[&str]) -> Option<Vec<String>> {
    Some(line.iter().map(|&word| word.to_owned()).collect())
}

fn body(command: &[&str]) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: words(command),
        ..Default::default()
    }
}

async fn create(docker: &Docker, name: &str, body: ContainerCreateBody) {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    docker.create_container(Some(options), body).await.unwrap();
}

async fn start(docker: &Docker, name: &str, body: ContainerCreateBody) {
    create(docker, name, body).await;
    docker.start_container(name, None).await.unwrap();
}

async fn remove(docker: &Docker, name: &str) {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    docker.remove_container(name, Some(options)).await.unwrap();
}

async fn exit_code(docker: &Docker, name: &str) -> i64 {
    let outcome: Result<Vec<_>, _> = docker
        .wait_container(name, None::<WaitContainerOptions>)
        .try_collect()
        .await;
    match outcome {
        Ok(answers) => answers[0].status_code,
        // A code that is not zero is an error to this client.
        Err(Error::DockerContainerWaitError { code, .. }) => code,
        Err(error) => panic!("{error}"),
    }
}

/// Standard output and standard error.
async fn split(
    mut stream: impl futures_util::Stream<Item = Result<LogOutput, Error>> + Unpin,
) -> (String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    while let Some(piece) = stream.next().await {
        match piece.unwrap() {
            LogOutput::StdErr { message } => err.push_str(&String::from_utf8_lossy(&message)),
            other => out.push_str(&String::from_utf8_lossy(&other.into_bytes())),
        }
    }
    (out, err)
}

#[tokio::test]
async fn the_engine() {
    let docker = connect().negotiate_version().await.unwrap();
    assert_eq!(docker.ping().await.unwrap(), "OK");
    assert_eq!(docker.version().await.unwrap().os.as_deref(), Some("linux"));
    assert_eq!(
        docker.info().await.unwrap().os_type.as_deref(),
        Some("linux")
    );
    docker.df(None).await.unwrap();
}

#[tokio::test]
async fn life() {
    let docker = connect();
    let name = "bollard-life";
    let mut wanted = body(&["sleep", "1000"]);
    wanted.labels = Some(HashMap::from([("who".to_owned(), "bollard".to_owned())]));
    wanted.env = words(&["A=b"]);
    start(&docker, name, wanted).await;
    let shown = docker.inspect_container(name, None).await.unwrap();
    assert_eq!(shown.name.as_deref(), Some("/bollard-life"));
    assert_eq!(shown.state.unwrap().running, Some(true));
    let filters = HashMap::from([("label", vec!["who=bollard"])]);
    let options = ListContainersOptionsBuilder::default()
        .filters(&filters)
        .build();
    let listed = docker.list_containers(Some(options)).await.unwrap();
    assert_eq!(listed.len(), 1);
    docker.pause_container(name).await.unwrap();
    docker.unpause_container(name).await.unwrap();
    let top = docker
        .top_processes(name, None::<TopOptions>)
        .await
        .unwrap();
    assert_eq!(top.processes.unwrap().len(), 1);
    let options = StopContainerOptionsBuilder::default().t(0).build();
    docker.stop_container(name, Some(options)).await.unwrap();
    assert_eq!(exit_code(&docker, name).await, 137);
    docker.start_container(name, None).await.unwrap();
    docker
        .kill_container(name, None::<KillContainerOptions>)
        .await
        .unwrap();
    remove(&docker, name).await;
}

#[tokio::test]
async fn errors_carry_status_and_message() {
    let docker = connect();
    let status = |error: Error| match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => (status_code, message),
        other => panic!("{other}"),
    };
    let (code, message) = status(docker.inspect_container("nothing", None).await.unwrap_err());
    assert_eq!(
        (code, message.as_str()),
        (404, "No such container: nothing")
    );
    let (code, _) = status(docker.inspect_volume("nothing").await.unwrap_err());
    assert_eq!(code, 404);
    let (code, _) = status(docker.inspect_image("nothing").await.unwrap_err());
    assert_eq!(code, 404);
}

#[tokio::test]
async fn logs() {
    let docker = connect();
    let name = "bollard-logs";
    let script = "echo out; echo err >&2; exit 3";
    start(&docker, name, body(&["sh", "-c", script])).await;
    assert_eq!(exit_code(&docker, name).await, 3);
    let options = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .follow(true)
        .build();
    let said = split(docker.logs(name, Some(options))).await;
    assert_eq!(said, ("out\n".to_owned(), "err\n".to_owned()));
    remove(&docker, name).await;
}

#[tokio::test]
async fn attach() {
    let docker = connect();
    let name = "bollard-attach";
    let mut wanted = body(&["sh", "-c", "read line; echo got $line"]);
    wanted.open_stdin = Some(true);
    wanted.stdin_once = Some(true);
    create(&docker, name, wanted).await;
    let options = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .build();
    let AttachContainerResults { output, mut input } =
        docker.attach_container(name, Some(options)).await.unwrap();
    docker.start_container(name, None).await.unwrap();
    input.write_all(b"this\n").await.unwrap();
    assert_eq!(split(output).await.0, "got this\n");
    remove(&docker, name).await;
}

#[tokio::test]
async fn exec() {
    let docker = connect();
    let name = "bollard-exec";
    start(&docker, name, body(&["sleep", "1000"])).await;
    let options = CreateExecOptions {
        cmd: Some(vec!["sh", "-c", "echo $A; echo e >&2; exit 5"]),
        env: Some(vec!["A=b"]),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..Default::default()
    };
    let id = docker.create_exec(name, options).await.unwrap().id;
    let started = docker
        .start_exec(&id, None::<StartExecOptions>)
        .await
        .unwrap();
    let StartExecResults::Attached { output, .. } = started else {
        panic!("not attached");
    };
    assert_eq!(split(output).await, ("b\n".to_owned(), "e\n".to_owned()));
    let shown = docker.inspect_exec(&id).await.unwrap();
    assert_eq!((shown.running, shown.exit_code), (Some(false), Some(5)));
    remove(&docker, name).await;
}

#[tokio::test]
async fn stats() {
    let docker = connect();
    let name = "bollard-stats";
    start(&docker, name, body(&["sleep", "1000"])).await;
    let options = StatsOptionsBuilder::default().stream(true).build();
    let two: Vec<_> = docker
        .stats(name, Some(options))
        .take(2)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(two[1].name.as_deref(), Some("/bollard-stats"));
    remove(&docker, name).await;
}

#[tokio::test]
async fn volumes_and_files() {
    let docker = connect();
    let name = "bollard-volume";
    let request = VolumeCreateRequest {
        name: Some(name.to_owned()),
        ..Default::default()
    };
    assert_eq!(docker.create_volume(request).await.unwrap().name, name);
    let mut wanted = body(&["sh", "-c", "echo kept >/v/f"]);
    wanted.host_config = Some(HostConfig {
        mounts: Some(vec![Mount {
            typ: Some(MountType::VOLUME),
            source: Some(name.to_owned()),
            target: Some("/v".to_owned()),
            ..Default::default()
        }]),
        ..Default::default()
    });
    start(&docker, name, wanted).await;
    assert_eq!(exit_code(&docker, name).await, 0);
    let options = DownloadFromContainerOptionsBuilder::default()
        .path("/v/f")
        .build();
    let pieces: Vec<_> = docker
        .download_from_container(name, Some(options))
        .try_collect()
        .await
        .unwrap();
    let archive = pieces.concat();
    assert!(archive.windows(5).any(|window| window == b"kept\n"));
    assert!(
        docker
            .remove_volume(name, None::<RemoveVolumeOptions>)
            .await
            .is_err()
    );
    remove(&docker, name).await;
    docker
        .remove_volume(name, None::<RemoveVolumeOptions>)
        .await
        .unwrap();
}

#[tokio::test]
async fn events() {
    let docker = connect();
    let name = "bollard-events";
    let filters = HashMap::from([("container", vec![name]), ("event", vec!["die"])]);
    let options = EventsOptionsBuilder::default().filters(&filters).build();
    create(&docker, name, body(&["sh", "-c", "exit 4"])).await;
    // The first poll sends the request; nothing of the past is asked for, so it must stand before the start.
    let mut stream = Box::pin(docker.events(Some(options)));
    let first = tokio::select! {
        biased;
        event = stream.next() => event,
        first = async {
            docker.start_container(name, None).await.unwrap();
            std::future::pending().await
        } => first,
    };
    let attributes = first.unwrap().unwrap().actor.unwrap().attributes.unwrap();
    assert_eq!(attributes.get("exitCode").map(String::as_str), Some("4"));
    remove(&docker, name).await;
}

#[tokio::test]
async fn images() {
    let docker = connect();
    let options = TagImageOptionsBuilder::default()
        .repo("bollard/other")
        .tag("1")
        .build();
    docker.tag_image("busybox", Some(options)).await.unwrap();
    let shown = docker.inspect_image("bollard/other:1").await.unwrap();
    assert!(
        shown
            .repo_tags
            .unwrap()
            .contains(&"bollard/other:1".to_owned())
    );
    assert!(!docker.image_history("busybox").await.unwrap().is_empty());
    docker
        .remove_image(
            "bollard/other:1",
            None::<bollard::query_parameters::RemoveImageOptions>,
            None,
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn networks() {
    let docker = connect();
    let request = NetworkCreateRequest {
        name: "bollard-net".to_owned(),
        ..Default::default()
    };
    docker.create_network(request).await.unwrap();
    start(&docker, "bollard-server", body(&["sleep", "1000"])).await;
    let request = NetworkConnectRequest {
        container: "bollard-server".to_owned(),
        ..Default::default()
    };
    docker
        .connect_network("bollard-net", request)
        .await
        .unwrap();
    let mut guest = body(&["ping", "-c", "1", "-W", "5", "bollard-server"]);
    guest.host_config = Some(HostConfig {
        network_mode: Some("bollard-net".to_owned()),
        ..Default::default()
    });
    start(&docker, "bollard-guest", guest).await;
    assert_eq!(exit_code(&docker, "bollard-guest").await, 0);
    remove(&docker, "bollard-guest").await;
    remove(&docker, "bollard-server").await;
    docker.remove_network("bollard-net").await.unwrap();
}
