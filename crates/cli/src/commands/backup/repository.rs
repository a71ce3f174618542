//! `backup init`, `add`, `repos`, `rm-repo`, `default`, `lock`, `unlock`: repositories and their names.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::secret::{PasswordArgs, PlaceArgs};
use crate::failure::{Outcome, for_each};
use crate::http::{Client, encode};
use crate::json::{each, text};
use crate::render::list::{self, Row};

#[derive(Debug, ClapArgs)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    entry: EntryArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    entry: EntryArgs,
}

#[derive(Debug, ClapArgs)]
struct EntryArgs {
    /// Let backups go there when no repository is named
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    place: PlaceArgs,
    #[arg(value_name = "NAME")]
    name: String,
    /// A directory, s3:http[s]://HOST/BUCKET[/PREFIX], sftp:[USER@]HOST:DIRECTORY or rest:http[s]://HOST/
    #[arg(value_name = "LOCATION")]
    location: String,
}

impl InitArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        self.entry.run(client, true)
    }
}

impl AddArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        self.entry.run(client, false)
    }
}

impl EntryArgs {
    fn run(&self, client: &Client, create: bool) -> Outcome<i32> {
        let mut body = json!({
            "Name": self.name,
            "Location": self.location,
            "Create": create,
            "Default": self.default,
            "Password": self.password.read(create)?,
        });
        self.place.add_to(&mut body, &self.location)?;
        let added = client.post("/orlop/v1/repositories", &body)?;
        println!("{}", text(&added["Name"]));
        if create {
            eprintln!("keep the password: without it nobody can read the backups");
        }
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReposArgs {
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display names
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: list::Columns<'_> = &[
    ("NAME", "Name"),
    ("LOCATION", "Location"),
    ("STATE", "State"),
    ("ID", "ShortId"),
];

impl ReposArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let answer = client.get("/orlop/v1/repositories")?;
        let repositories = answer["Repositories"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if self.quiet {
            for repository in &repositories {
                println!("{}", text(&repository["Name"]));
            }
            return Ok(0);
        }
        let rows: Vec<Row> = repositories.iter().map(row).collect();
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}

fn row(repository: &Value) -> Row {
    let name = text(&repository["Name"]);
    let values = json!({
        "Name": if repository["Default"] == true { format!("{name} *") } else { name.to_owned() },
        "Location": repository["Location"],
        "State": if repository["Locked"] == true { "locked" } else { "open" },
        "ShortId": super::short(&repository["Id"]),
        "Id": repository["Id"],
        "CreatedAt": repository["CreatedAt"],
        "Default": repository["Default"],
    });
    values.as_object().cloned().unwrap_or_default()
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RmRepoArgs {
    #[arg(required = true, value_name = "REPOSITORY")]
    repositories: Vec<String>,
}

impl RmRepoArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.repositories, |name| {
            client.delete(&format!("/orlop/v1/repositories/{}", encode(name)))?;
            println!("{name}");
            Ok(())
        })
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DefaultArgs {
    #[arg(value_name = "REPOSITORY")]
    name: Option<String>,
}

impl DefaultArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if let Some(name) = &self.name {
            client.act(&format!("/orlop/v1/repositories/{}/default", encode(name)))?;
            println!("{name}");
            return Ok(0);
        }
        let answer = client.get("/orlop/v1/repositories")?;
        for repository in each(&answer["Repositories"]) {
            if repository["Default"] == true {
                println!("{}", text(&repository["Name"]));
            }
        }
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LockArgs {
    #[arg(required = true, value_name = "REPOSITORY")]
    repositories: Vec<String>,
}

impl LockArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.repositories, |name| {
            client.act(&format!("/orlop/v1/repositories/{}/lock", encode(name)))?;
            println!("{name}");
            Ok(())
        })
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UnlockArgs {
    #[command(flatten)]
    password: PasswordArgs,
    #[arg(value_name = "REPOSITORY")]
    name: String,
}

impl UnlockArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let body = json!({ "Password": self.password.read(false)? });
        let path = format!("/orlop/v1/repositories/{}/unlock", encode(&self.name));
        client.send("POST", &path, crate::http::Body::Json(&body))?;
        println!("{}", self.name);
        Ok(0)
    }
}
