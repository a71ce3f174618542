//! `/networks`.

use engine::containers::networking::EndpointRequest;
use engine::network::named::{NetworkInfo, NetworkRequest};
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{json as answer_json, no_content, nothing, ok};
use crate::bridge::Class;
use crate::convert::network as convert;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::filters;
use crate::request::Request;

route_table! {
    GET "/networks" => list,
    POST "/networks/create" => create:
        "bridge driver; overlay, macvlan, ipvlan, configuration-only networks and networks without IPv4 are refused",
    POST "/networks/prune" => prune,
    GET "/networks/{}" => inspect,
    DELETE "/networks/{}" => remove,
    POST "/networks/{}/connect" => connect,
    POST "/networks/{}/disconnect" => disconnect,
}

const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/// What Go reads as a boolean.
const BOOLEANS: [&str; 13] = [
    "", "0", "1", "t", "f", "T", "F", "true", "false", "True", "False", "TRUE", "FALSE",
];

async fn list(request: Request) -> Answer {
    let filters = filters::parse(request.get("filters"))?;
    let unknown = filters
        .0
        .keys()
        .find(|key| !FILTERS.contains(&key.as_str()));
    if let Some(unknown) = unknown {
        return Err(Refusal::invalid(format!("invalid filter '{unknown}'")));
    }
    let mut kinds = filters.0.get("type").into_iter().flatten();
    if let Some(kind) = kinds.find(|kind| !matches!(kind.as_str(), "custom" | "builtin")) {
        return Err(Refusal::invalid(format!("invalid filter: 'type'='{kind}'")));
    }
    let dangling = filters::flag(&filters, "dangling")?;
    let networks = request
        .bridge
        .call(Class::Quick, |engine| engine.networks.list())
        .await?;
    let any = |key: &str, fits: &dyn Fn(&str) -> bool| {
        let values = filters.0.get(key).filter(|values| !values.is_empty());
        values.is_none_or(|values| values.iter().any(|value| fits(value)))
    };
    let fits = |network: &&NetworkInfo| {
        let kind = if network.predefined {
            "builtin"
        } else {
            "custom"
        };
        // One of the engine's own is never left over.
        let unused = !network.predefined && network.containers.is_empty();
        any("name", &|value| network.name.contains(value))
            && any("id", &|value| network.id.starts_with(value))
            && any("driver", &|value| network.driver == value)
            && any("scope", &|value| value == "local")
            && any("type", &|value| value == kind)
            && filters.labels_match(&network.labels)
            && dangling.is_none_or(|dangling| dangling == unused)
    };
    let shown: Vec<Value> = networks
        .iter()
        .filter(fits)
        .map(|network| convert::network(network, false))
        .collect();
    ok(&shown)
}

async fn inspect(request: Request) -> Answer {
    let (name, scope) = (request.name(), request.text("scope"));
    let verbose = request.get("verbose").unwrap_or_default();
    if !BOOLEANS.contains(&verbose) {
        return Err(Refusal::invalid(format!(
            "invalid value for verbose: {verbose}"
        )));
    }
    if scope.is_some_and(|scope| !matches!(scope.as_str(), "" | "local")) {
        return Err(Refusal::not_found(format!("network {name} not found")));
    }
    let network = request
        .bridge
        .call(Class::Quick, move |engine| engine.networks.inspect(&name))
        .await?;
    ok(&convert::network(&network, true))
}

async fn create(request: Request) -> Answer {
    let bridge = request.bridge.clone();
    let wanted: NetworkRequest = read(request.json().await?)?;
    let id = bridge
        .call(Class::Disk, move |engine| engine.networks.create(wanted))
        .await?;
    answer_json(StatusCode::CREATED, &json!({ "Id": id, "Warning": "" }))
}

async fn remove(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| engine.networks.remove(&name))
        .await?;
    no_content()
}

async fn prune(request: Request) -> Answer {
    let filters = filters::parse(request.get("filters"))?;
    let pruned = request
        .bridge
        .call(Class::Long, move |engine| engine.networks.prune(&filters))
        .await?;
    let deleted = (!pruned.names.is_empty()).then_some(pruned.names);
    ok(&json!({ "NetworksDeleted": deleted }))
}

async fn connect(request: Request) -> Answer {
    let (bridge, network) = (request.bridge.clone(), request.name());
    let mut body = request.json().await?;
    let container = container(&body)?;
    let wanted: EndpointRequest = match body.get_mut("EndpointConfig").map(Value::take) {
        None | Some(Value::Null) => EndpointRequest::default(),
        Some(value) => read(value)?,
    };
    bridge
        .call(Class::Disk, move |engine| {
            engine.containers.connect(&network, &container, wanted)
        })
        .await?;
    nothing(StatusCode::OK)
}

async fn disconnect(request: Request) -> Answer {
    let (bridge, network) = (request.bridge.clone(), request.name());
    let body = request.json().await?;
    let container = container(&body)?;
    let force = body["Force"].as_bool().unwrap_or(false);
    bridge
        .call(Class::Disk, move |engine| {
            engine.containers.disconnect(&network, &container, force)
        })
        .await?;
    nothing(StatusCode::OK)
}

fn container(body: &Value) -> Result<String, Refusal> {
    match &body["Container"] {
        Value::String(name) => Ok(name.clone()),
        Value::Null => Ok(String::new()),
        _ => Err(Refusal::invalid("invalid JSON: Container: not a string")),
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(without_nulls(value))
        .map_err(|error| Refusal::invalid(format!("invalid JSON: {error}")))
}

/// Nulls are as good as nothing, as in Go.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}
