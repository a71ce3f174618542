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
        let server = client.get("/version")?;
        let version = env!("CARGO_PKG_VERSION");
        let both = json!({
            "Client": { "Version": version, "ApiVersion": "1.47", "APIVersion": "1.47", "Os": std::env::consts::OS, "Arch": std::env::consts::ARCH },
            "Server": server,
        });
        match self.format.as_deref() {
            Some("json") => println!("{both}"),
            Some(format) => println!("{}", list::apply(&list::parse(format)?, &both)?),
            None => {
                let text = |key: &str| server[key].as_str().unwrap_or_default();
                println!(
                    "Client:\n Version:           {version}\n API version:       1.47\n OS/Arch:           {}/{}\n",
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
