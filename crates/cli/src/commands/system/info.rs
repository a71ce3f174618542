//! `info`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::Outcome;
use crate::http::Client;
use crate::json::each;
use crate::render::list;
use crate::render::units::binary_size;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Format output using a custom template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let info = client.get("/info")?;
        if let Some(format) = &self.format {
            if format == "json" {
                println!("{info}");
            } else {
                println!("{}", list::apply(&list::parse(format)?, &info)?);
            }
            return Ok(0);
        }
        let text = |key: &str| match &info[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        println!("Containers: {}", text("Containers"));
        println!(
            " Running: {}\n Paused: {}\n Stopped: {}",
            text("ContainersRunning"),
            text("ContainersPaused"),
            text("ContainersStopped")
        );
        println!("Images: {}", text("Images"));
        for (label, key) in [
            ("Server Version", "ServerVersion"),
            ("Storage Driver", "Driver"),
            ("Logging Driver", "LoggingDriver"),
            ("Cgroup Driver", "CgroupDriver"),
            ("Cgroup Version", "CgroupVersion"),
            ("Kernel Version", "KernelVersion"),
            ("Operating System", "OperatingSystem"),
            ("OSType", "OSType"),
            ("Architecture", "Architecture"),
            ("CPUs", "NCPU"),
        ] {
            println!("{label}: {}", text(key));
        }
        println!(
            "Total Memory: {}",
            binary_size(info["MemTotal"].as_f64().unwrap_or(0.0))
        );
        println!("Name: {}", text("Name"));
        println!("Root Dir: {}", text("DockerRootDir"));
        for warning in each(&info["Warnings"]).filter_map(Value::as_str) {
            eprintln!("{warning}");
        }
        Ok(0)
    }
}
