//! `network connect`.

use clap::Args as ClapArgs;
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::http::{Client, encode};
use crate::parse::network::Attachment;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "strings")]
    alias: Vec<String>,
    /// driver options for the network
    #[arg(long, value_name = "strings")]
    driver_opt: Vec<String>,
    /// Highest gw-priority provides the default gateway. Accepts positive and negative values
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    gw_priority: Option<i64>,
    /// IPv4 address (e.g., "172.30.100.104")
    #[arg(long, value_name = "ip")]
    ip: Option<String>,
    /// IPv6 address (e.g., "2001:db8::33")
    #[arg(long, value_name = "ip")]
    ip6: Option<String>,
    /// Add link to another container
    #[arg(long, value_name = "list")]
    link: Vec<String>,
    /// Add a link-local address for the container
    #[arg(long, value_name = "strings")]
    link_local_ip: Vec<String>,
    #[arg(value_name = "NETWORK")]
    network: String,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut options = std::collections::BTreeMap::new();
        for option in &self.driver_opt {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| Failure::new("invalid key value pair format in driver options"))?;
            options.insert(key.trim().to_lowercase(), value.to_owned());
        }
        let wanted = Attachment {
            aliases: self.alias.clone(),
            links: self.link.clone(),
            ip: self.ip.clone(),
            ip6: self.ip6.clone(),
            link_local: self.link_local_ip.clone(),
            options,
            priority: self.gw_priority,
            ..Attachment::default()
        };
        let body = json!({
            "Container": self.container,
            "EndpointConfig": wanted.settings(),
        });
        let path = format!("/networks/{}/connect", encode(&self.network));
        client.post(&path, &body)?;
        Ok(0)
    }
}
