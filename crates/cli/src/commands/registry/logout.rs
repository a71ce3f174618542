//! `logout`.

use clap::Args as ClapArgs;

use crate::failure::Outcome;
use crate::logins::{Logins, server_of};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Args {
    pub(crate) fn run(&self) -> Outcome<i32> {
        let server = server_of(self.server.as_deref());
        let mut logins = Logins::load()?;
        println!("Removing login credentials for {server}");
        if !logins.erase(&server)? {
            println!("Not logged in to {server}");
        }
        Ok(0)
    }
}
