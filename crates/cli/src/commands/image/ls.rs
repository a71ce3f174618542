//! `images`, and `image inspect`.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome, for_each};
use crate::http::{Client, Query};
use crate::json::each;
use crate::render::list::{self, Row};
use crate::render::units::{ago, human_size, local_time, short_id};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Show all images (default hides intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: Option<String>,
}

const HEADERS: list::Columns<'_> = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("DIGEST", "Digest"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("CREATED AT", "CreatedAt"),
    ("SIZE", "Size"),
];

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut filters = self.filter.clone();
        filters.extend(
            self.repository
                .iter()
                .map(|pattern| format!("reference={pattern}")),
        );
        let path = Query::new("/images/json")
            .flag("all", self.all)
            .filters(&filters)?
            .build();
        let images = client.get(&path)?;
        let mut rows: Vec<Row> = Vec::new();
        for image in each(&images) {
            self.rows(image, &mut rows);
        }
        if self.quiet && self.format.is_none() {
            for row in &rows {
                println!("{}", row["ID"].as_str().unwrap_or_default());
            }
            return Ok(0);
        }
        let mut columns = vec![("REPOSITORY", "Repository"), ("TAG", "Tag")];
        if self.digests {
            columns.push(("DIGEST", "Digest"));
        }
        columns.extend([
            ("IMAGE ID", "ID"),
            ("CREATED", "CreatedSince"),
            ("SIZE", "Size"),
        ]);
        list::print(&rows, &columns, HEADERS, self.format.as_deref())?;
        Ok(0)
    }

    /// One row for each name; one without for an image that has none.
    fn rows(&self, image: &Value, rows: &mut Vec<Row>) {
        let strings = |key: &str| -> Vec<String> {
            each(&image[key])
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let mut names: Vec<(String, String)> = strings("RepoTags")
            .iter()
            .map(|name| {
                name.rsplit_once(':')
                    .map_or((name.clone(), String::new()), |(repository, tag)| {
                        (repository.to_owned(), tag.to_owned())
                    })
            })
            .collect();
        let digests = strings("RepoDigests");
        if names.is_empty() {
            // One that lost its tag to a newer image still says where it came from.
            let repository = digests
                .first()
                .and_then(|digest| digest.split_once('@'))
                .map_or("<none>", |(repository, _)| repository);
            names.push((repository.to_owned(), "<none>".to_owned()));
        }
        let id = image["Id"].as_str().unwrap_or_default();
        let created = image["Created"].as_i64().unwrap_or(0);
        for (repository, tag) in names {
            let digest = digests
                .iter()
                .find_map(|digest| digest.strip_prefix(&format!("{repository}@")))
                .unwrap_or("<none>");
            let values = json!({
                "Containers": "N/A",
                "CreatedAt": local_time(created),
                "CreatedSince": ago(created),
                "Digest": digest,
                "ID": if self.no_trunc { id } else { short_id(id) },
                "Repository": repository,
                "SharedSize": "N/A",
                "Size": human_size(image["Size"].as_f64().unwrap_or(0.0)),
                "Tag": tag,
                "UniqueSize": "N/A",
                "VirtualSize": human_size(image["Size"].as_f64().unwrap_or(0.0)),
            });
            rows.push(values.as_object().cloned().unwrap_or_default());
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// Format output using a custom template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl InspectArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut found = Vec::new();
        let code = for_each(&self.images, |name| {
            found.push(
                client
                    .get(&format!("/images/{name}/json"))
                    .map_err(|failure| plain(failure, name))?,
            );
            Ok(())
        })?;
        list::print_inspected(&found, self.format.as_deref())?;
        Ok(code)
    }
}

/// `inspect` of a single kind says what is missing without the engine's prefix.
fn plain(failure: Failure, name: &str) -> Failure {
    if failure.is_not_found() {
        Failure::from_engine(404, &format!("No such image: {name}"))
    } else {
        failure
    }
}
