//! `/images`.

use engine::images::{ImageListRequest, ImportRequest, Removed};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::long::long_if_asked;
use super::{nothing, ok};
use crate::bridge::Class;
use crate::convert::image as convert;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::filters;
use crate::request::Request;
use crate::stream::{Lines, respond};

route_table! {
    GET "/images/json" => list,
    POST "/images/create" => create: "`fromImage` (pull) and `fromSrc=-` (import)",
    POST "/images/load" => load:
        "yes; image ids and diff ids are kept to the byte, by `save` too; the compressed blobs are not, so a push after a load gives new digests of layers",
    GET "/images/get" => save_many,
    POST "/images/prune" => prune,
    GET "/images/{...}/json" => inspect,
    GET "/images/{...}/history" => history,
    GET "/images/{...}/get" => save_one,
    POST "/images/{...}/tag" => tag,
    DELETE "/images/{...}" => remove,
}

async fn list(request: Request) -> Answer {
    let list = ImageListRequest {
        all: request.flag("all"),
        filters: filters::parse(request.get("filters"))?,
        shared_size: request.flag("shared-size"),
    };
    let shared_size = list.shared_size;
    let images = request
        .bridge
        .call(Class::Quick, move |engine| engine.images.list(&list))
        .await?;
    let mut shown: Vec<Value> = images.iter().map(convert::summary).collect();
    for image in &mut shown {
        // Only `df` tells who uses them.
        image["Containers"] = json!(-1);
        if !shared_size {
            image["SharedSize"] = json!(-1);
        }
    }
    ok(&shown)
}

async fn create(request: Request) -> Answer {
    if let Some(image) = request.text("fromImage") {
        return super::registry::pull(request, image).await;
    }
    match request.get("fromSrc") {
        Some("-") => {}
        _ => {
            return Err(Refusal::invalid(
                "importing is possible from the request's body only (fromSrc=-)",
            ));
        }
    }
    let import = ImportRequest {
        repository: request.text("repo"),
        tag: request.text("tag"),
        message: request.text("message").unwrap_or_default(),
        changes: request.all("changes"),
        platform: request.text("platform"),
    };
    let bridge = request.bridge.clone();
    let mut reader = request.reader();
    let pieces = bridge.produce(Class::Long, move |engine, pieces| {
        let lines = Lines::new(pieces, false);
        let result = engine
            .images
            .import(&mut reader, &import, &engine::Silent)
            .map_err(Into::into);
        let result = result.map(|id| lines.send(&json!({ "status": id })));
        lines.finish(result);
    });
    respond("application/json", pieces).await
}

async fn load(request: Request) -> Answer {
    let steps = !request.flag("quiet");
    let bridge = request.bridge.clone();
    let mut reader = request.reader();
    let pieces = bridge.produce(Class::Long, move |engine, pieces| {
        let lines = Lines::new(pieces, steps);
        let result = engine
            .images
            .load(&mut reader, &lines)
            .map(drop)
            .map_err(Into::into);
        lines.finish(result);
    });
    respond("application/json", pieces).await
}

async fn save(request: Request, names: Vec<String>) -> Answer {
    if names.is_empty() {
        return Err(Refusal::invalid("no image was named"));
    }
    let pieces = request
        .bridge
        .stream(Class::Long, move |engine, mut writer| {
            engine.images.save(&names, &mut writer)?;
            Ok(())
        });
    respond("application/x-tar", pieces).await
}

async fn save_many(request: Request) -> Answer {
    let names = request
        .all("names")
        .iter()
        .flat_map(|names| names.split(','))
        .map(str::to_owned)
        .collect();
    save(request, names).await
}

async fn save_one(request: Request) -> Answer {
    let names = vec![request.name()];
    save(request, names).await
}

async fn prune(request: Request) -> Answer {
    let filters = filters::parse(request.get("filters"))?;
    long_if_asked(request, StatusCode::OK, move |engine, progress, cancel| {
        let report = engine.images.prune(&filters, progress, cancel)?;
        let deleted = (!report.deleted.is_empty())
            .then(|| report.deleted.iter().map(removed).collect::<Vec<_>>());
        Ok(json!({ "ImagesDeleted": deleted, "SpaceReclaimed": report.reclaimed }))
    })
    .await
}

fn removed(one: &Removed) -> Value {
    match one {
        Removed::Untagged(name) => json!({ "Untagged": name }),
        Removed::Deleted(id) => json!({ "Deleted": id }),
    }
}

async fn inspect(request: Request) -> Answer {
    let name = request.name();
    let image = request
        .bridge
        .call(Class::Quick, move |engine| engine.images.inspect(&name))
        .await?;
    ok(&convert::detail(&image))
}

async fn history(request: Request) -> Answer {
    let name = request.name();
    let history = request
        .bridge
        .call(Class::Quick, move |engine| engine.images.history(&name))
        .await?;
    let list: Vec<Value> = history
        .into_iter()
        .map(|entry| {
            let tags = (!entry.tags.is_empty()).then_some(entry.tags);
            json!({
                "Id": entry.id,
                "Created": entry.created,
                "CreatedBy": entry.created_by,
                "Tags": tags,
                "Size": entry.size,
                "Comment": entry.comment,
            })
        })
        .collect();
    ok(&list)
}

async fn tag(request: Request) -> Answer {
    let (name, tag) = (request.name(), request.text("tag"));
    let repository = request.text("repo").unwrap_or_default();
    request
        .bridge
        .call(Class::Quick, move |engine| {
            engine.images.tag(&name, &repository, tag.as_deref())
        })
        .await?;
    nothing(StatusCode::CREATED)
}

async fn remove(request: Request) -> Answer {
    let (name, force, prune) = (
        request.name(),
        request.flag("force"),
        !request.flag("noprune"),
    );
    let list = request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.images.remove(&name, force, prune)
        })
        .await?;
    ok(&list.iter().map(removed).collect::<Vec<_>>())
}
