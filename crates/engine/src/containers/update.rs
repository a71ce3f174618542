//! `update`: limits and restart policy, also of a running container.

use std::sync::PoisonError;

use serde::Deserialize;

use super::find::Columns as _;
use super::spec::{resources, restart_policy};
use super::{ContainerError, Containers, HostConfig};

/// Body of `POST /containers/{id}/update`: only the fields that are there change.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct UpdateRequest(pub serde_json::Map<String, serde_json::Value>);

/// What can be changed after the creation.
const CHANGEABLE: [&str; 14] = [
    "BlkioWeight",
    "CpuShares",
    "CpuPeriod",
    "CpuQuota",
    "CpusetCpus",
    "CpusetMems",
    "Memory",
    "MemorySwap",
    "MemoryReservation",
    "NanoCpus",
    "PidsLimit",
    "RestartPolicy",
    "OomKillDisable",
    "MemorySwappiness",
];

/// What contradicts a limit that the container has already, in Docker's words.
fn contradiction(
    has: &HostConfig,
    fields: &serde_json::Map<String, serde_json::Value>,
) -> Option<String> {
    let wanted = |key: &str| {
        fields
            .get(key)
            .and_then(serde_json::Value::as_i64)
            .unwrap_or(0)
    };
    let settled = |what: &str, by: &str| {
        format!("Conflicting options: {what} cannot be updated as {by} has already been set")
    };
    if wanted("NanoCpus") > 0 && has.cpu_period > 0 {
        return Some(settled("Nano CPUs", "CPU Period"));
    }
    if wanted("NanoCpus") > 0 && has.cpu_quota > 0 {
        return Some(settled("Nano CPUs", "CPU Quota"));
    }
    if wanted("CpuPeriod") > 0 && has.nano_cpus > 0 {
        return Some(settled("CPU Period", "NanoCPUs"));
    }
    if wanted("CpuQuota") > 0 && has.nano_cpus > 0 {
        return Some(settled("CPU Quota", "NanoCPUs"));
    }
    let swap_stays = wanted("MemorySwap") == 0 && has.memory_swap > 0;
    (swap_stays && wanted("Memory") > has.memory_swap).then(|| {
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
            .to_owned()
    })
}

impl Containers {
    /// Warnings.
    pub fn update(
        &self,
        reference: &str,
        request: UpdateRequest,
    ) -> Result<Vec<String>, ContainerError> {
        let id = self.find(reference)?.id;
        let live = self.live(&id);
        let _verb = live.verb.lock().unwrap_or_else(PoisonError::into_inner);
        let row = self.find(&id)?;
        let stored = row.host_config()?;
        let UpdateRequest(fields) = request;
        let refused =
            |why: String| ContainerError::Conflict(format!("Cannot update container {id}: {why}"));
        if let Some(why) = contradiction(&stored, &fields) {
            return Err(refused(why));
        }
        let mut merged = serde_json::to_value(&stored).expect("a configuration serialises");
        let policy_changes = fields
            .get("RestartPolicy")
            .and_then(|policy| policy.get("Name"))
            .and_then(serde_json::Value::as_str)
            .is_some_and(|name| !name.is_empty());
        for (key, value) in fields {
            // Clients send zero for what they leave alone.
            let untouched = value.is_null()
                || value == 0
                || value == ""
                || (key == "RestartPolicy" && !policy_changes);
            if CHANGEABLE.contains(&key.as_str()) && !untouched {
                merged[key] = value;
            }
        }
        let host: HostConfig = serde_json::from_value(merged)
            .map_err(|error| ContainerError::Invalid(format!("invalid update: {error}")))?;
        if policy_changes && host.auto_remove {
            return Err(refused(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
                    .to_owned(),
            ));
        }
        super::create::check::restart_policy(&host)?;
        let warnings = super::create::check::limits(&host)?;
        let stored = super::create::to_json(&host);
        if row.status()?.is_active() {
            self.ask(
                &id,
                &shim_protocol::Request::Update {
                    resources: Box::new(resources(&host)),
                    restart: policy_changes.then(|| restart_policy(&host)),
                },
            )?;
        }
        // Not the row that was read above: the container may have ended meanwhile.
        let row = self.change_state(&id, |row| row.host_config = stored)?;
        self.publish(&row, "update", &[]);
        Ok(warnings)
    }
}
