//! `backup show`.

use clap::Args as ClapArgs;

use crate::failure::{Outcome, for_each};
use crate::http::{Client, Query};
use crate::render::list::print_inspected;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Format output using a custom template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, value_name = "REPOSITORY:VOLUME[@TIME|@ID]")]
    backups: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut found = Vec::new();
        let code = for_each(&self.backups, |backup| {
            let path = Query::new("/orlop/v1/backups/detail")
                .set("backup", backup)
                .build();
            found.push(client.get(&path)?);
            Ok(())
        })?;
        print_inspected(&found, self.format.as_deref())?;
        Ok(code)
    }
}
