//! `version`.

use clap::Args as ClapArgs;
use serde_json::json;

use crate::failure::Outcome;
use crate::http::Client;
use crate::render::list;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Format output using a custom template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut server = client.get("/version")?;
        // The name that docker's templates have for it.
        server["APIVersion"] = server["ApiVersion"].clone();
        let version = env!("CARGO_PKG_VERSION");
        let both = json!({
            "Client": { "Version": version, "ApiVersion": "1.50", "APIVersion": "1.50", "Os": std::env::consts::OS, "Arch": std::env::consts::ARCH },
            "Server": server,
        });
        match self.format.as_deref() {
            Some("json") => println!("{both}"),
            Some(format) => println!("{}", list::apply(&list::parse(format)?, &both)?),
            None => {
                let text = |key: &str| server[key].as_str().unwrap_or_default();
                println!(
                    "Client:\n Version:           {version}\n API version:       1.50\n OS/Arch:           {}/{}\n",
                    std::env::consts::OS,
                    std::env::consts::ARCH
                );
                println!(
                    "Server:\n Engine:\n  Version:          {}\n  API version:      {} (minimum version {})\n  Built with:       Rust\n  OS/Arch:          {}/{}",
                    text("Version"),
                    text("ApiVersion"),
                    text("MinAPIVersion"),
                    text("Os"),
                    text("Arch")
                );
            }
        }
        Ok(0)
    }
}
