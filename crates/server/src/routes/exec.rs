//! `/exec`.

use engine::containers::{ContainerError, ExecRequest, ExecStart};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{json as answer_json, nothing, ok};
use crate::bridge::Class;
use crate::convert::container as convert;
use crate::dispatch::{Answer, route_table};
use crate::hijack;
use crate::request::Request;
use crate::versions::MULTIPLEXED_TYPE;

route_table! {
    POST "/containers/{}/exec" => create,
    POST "/exec/{}/start" => start,
    POST "/exec/{}/resize" => resize,
    GET "/exec/{}/json" => inspect,
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

async fn create(request: Request) -> Answer {
    let (bridge, name) = (request.bridge.clone(), request.name());
    let body = request.json().await?;
    let flag = |key: &str| body[key] == Value::Bool(true);
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let exec = ExecRequest {
        cmd: strings(&body["Cmd"]),
        env: strings(&body["Env"]),
        user: text("User"),
        working_dir: text("WorkingDir"),
        tty: flag("Tty"),
        privileged: flag("Privileged"),
        stdin: flag("AttachStdin"),
        stdout: flag("AttachStdout"),
        stderr: flag("AttachStderr"),
        detach_keys: Some(text("DetachKeys")).filter(|keys| !keys.is_empty()),
    };
    let id = bridge
        .call(Class::Quick, move |engine| {
            engine.containers.exec_create(&name, exec)
        })
        .await?;
    answer_json(StatusCode::CREATED, &json!({ "Id": id }))
}

async fn start(mut request: Request) -> Answer {
    let (bridge, id) = (request.bridge.clone(), request.name());
    let body = request.take_json().await?;
    let console = body["ConsoleSize"]
        .as_array()
        .and_then(|size| match size.as_slice() {
            [rows, columns] => Some((
                u16::try_from(rows.as_u64()?).ok()?,
                u16::try_from(columns.as_u64()?).ok()?,
            )),
            _ => None,
        });
    let start = ExecStart {
        detach: body["Detach"] == Value::Bool(true),
        tty: body["Tty"] == Value::Bool(true),
        console_size: console.filter(|&(rows, columns)| rows > 0 && columns > 0),
    };
    let (streams, tty) = bridge
        .call(Class::Disk, move |engine| {
            let tty = engine.containers.exec_inspect(&id)?.request.tty;
            match engine.containers.exec_start(&id, start) {
                // Docker tells it in the stream; the exit code is in the exec's record.
                Err(ContainerError::Start { message, .. }) if !start.detach => {
                    let text = format!(
                        "OCI runtime exec failed: exec failed: unable to start container process: {message}\r\n"
                    );
                    Ok((hijack::said(&text, tty).ok(), tty))
                }
                result => Ok::<_, ContainerError>((result?, tty)),
            }
        })
        .await?;
    match streams {
        Some(streams) => {
            let named = request.version >= MULTIPLEXED_TYPE;
            hijack::join(request.inner, streams, tty, named)
        }
        None => nothing(StatusCode::OK),
    }
}

async fn resize(request: Request) -> Answer {
    let (rows, columns) = convert::size(&request)?;
    let id = request.name();
    request
        .bridge
        .call(Class::Quick, move |engine| {
            engine.containers.exec_resize(&id, rows, columns)
        })
        .await?;
    nothing(StatusCode::OK)
}

async fn inspect(request: Request) -> Answer {
    let id = request.name();
    let exec = request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.containers.exec_inspect(&id)
        })
        .await?;
    let mut words = exec.request.cmd.iter();
    ok(&json!({
        "ID": exec.id,
        "Running": exec.running,
        "ExitCode": exec.exit_code,
        "ProcessConfig": {
            "tty": exec.request.tty,
            "entrypoint": words.next(),
            "arguments": words.collect::<Vec<_>>(),
            "privileged": exec.request.privileged,
            "user": exec.request.user,
        },
        "OpenStdin": exec.request.stdin,
        "OpenStderr": exec.request.stderr,
        "OpenStdout": exec.request.stdout,
        "CanRemove": false,
        "ContainerID": exec.container,
        "DetachKeys": "",
        "Pid": exec.pid,
    }))
}
