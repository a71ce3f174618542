//! `/networks`: the three that are always there.

use serde_json::{Value, json};

use super::ok;
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::filters;
use crate::request::Request;

route_table! {
    GET "/networks" => list,
    POST "/networks/create" => unsupported,
    POST "/networks/prune" => prune,
    GET "/networks/{}" => inspect,
    DELETE "/networks/{}" => remove,
    POST "/networks/{}/connect" => unsupported,
    POST "/networks/{}/disconnect" => unsupported,
}

/// The same id for the same name, everywhere: these networks are part of every engine.
pub(crate) fn id(name: &str) -> String {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    let mut text = String::new();
    for round in 0..4_u8 {
        for byte in name.bytes().chain([round]) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        text.push_str(&format!("{state:016x}"));
    }
    text
}

async fn all(request: &Request) -> Result<Vec<Value>, Refusal> {
    let info = request
        .bridge
        .call(Class::Quick, |engine| engine.network.info())
        .await?;
    let plain = |name: &str, driver: &str| {
        json!({
            "Name": name,
            "Id": id(name),
            "Created": "0001-01-01T00:00:00Z",
            "Scope": "local",
            "Driver": driver,
            "EnableIPv4": true,
            "EnableIPv6": false,
            "IPAM": { "Driver": "default", "Options": null, "Config": null },
            "Internal": false,
            "Attachable": false,
            "Ingress": false,
            "ConfigFrom": { "Network": "" },
            "ConfigOnly": false,
            "Containers": {},
            "Options": {},
            "Labels": {},
        })
    };
    let mut bridge = plain("bridge", "bridge");
    crate::convert::network::bridge(&mut bridge, &info);
    Ok(vec![bridge, plain("host", "host"), plain("none", "null")])
}

async fn list(request: Request) -> Answer {
    let filters = filters::parse(request.get("filters"))?;
    if let Some(unknown) = filters.0.keys().find(|key| {
        !matches!(
            key.as_str(),
            "driver" | "id" | "label" | "name" | "scope" | "type" | "dangling"
        )
    }) {
        return Err(Refusal::invalid(format!("invalid filter '{unknown}'")));
    }
    let fits = |network: &Value| {
        let text = |key: &str| network[key].as_str().unwrap_or_default().to_owned();
        let any = |key: &str, test: &dyn Fn(&str) -> bool| {
            filters
                .0
                .get(key)
                .is_none_or(|values| values.iter().any(|value| test(value)))
        };
        any("name", &|value| text("Name").contains(value))
            && any("id", &|value| text("Id").starts_with(value))
            && any("driver", &|value| text("Driver") == value)
            && any("scope", &|value| value == "local")
            && any("type", &|value| value == "builtin")
            && any("label", &|_| false)
            && any("dangling", &|value| matches!(value, "false" | "0"))
    };
    let networks: Vec<Value> = all(&request).await?.into_iter().filter(fits).collect();
    ok(&networks)
}

async fn inspect(request: Request) -> Answer {
    let wanted = request.name();
    let found = all(&request).await?.into_iter().find(|network| {
        network["Name"] == *wanted
            || network["Id"]
                .as_str()
                .is_some_and(|id| id.starts_with(&wanted))
    });
    match found {
        Some(network) => ok(&network),
        None => Err(Refusal::not_found(format!("network {wanted} not found"))),
    }
}

async fn remove(request: Request) -> Answer {
    let name = request.name();
    if matches!(name.as_str(), "bridge" | "host" | "none") {
        return Err(Refusal::new(
            hyper::StatusCode::FORBIDDEN,
            format!("{name} is a pre-defined network and cannot be removed"),
        ));
    }
    Err(Refusal::not_found(format!("network {name} not found")))
}

async fn prune(_request: Request) -> Answer {
    ok(&json!({ "NetworksDeleted": null }))
}

async fn unsupported(_request: Request) -> Answer {
    Err(Refusal::unsupported(
        "user-defined networks are not supported yet",
    ))
}
