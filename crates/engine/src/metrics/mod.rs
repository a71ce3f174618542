//! Metrics in Prometheus' text format: what is known of volumes, snapshots, backups, drills and containers.
//!
//! A scrape reads the database and what is remembered, and measures nothing: sizes are those that were measured last, with
//! their age, so that a scrape costs the same whatever is in the volumes. Names follow Prometheus' conventions: base units,
//! `_total` for what only grows, moments as seconds since 1970.

use std::collections::BTreeMap;

use crate::containers::{ContainerError, ListRequest};
use crate::drill::DrillError;
use crate::engine::Engine;
use crate::error::{ErrorKind, Fault};
use crate::schedules::ScheduleError;
use crate::volume::{AuditRequest, Weight};

mod text;

pub use text::CONTENT_TYPE;
use text::Page;

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error(transparent)]
    Volume(#[from] volumes::VolumeError),
    #[error(transparent)]
    Snapshot(#[from] volumes::SnapshotError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(transparent)]
    Drill(#[from] DrillError),
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl Fault for MetricsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Volume(error) => error.kind(),
            Self::Snapshot(error) => error.kind(),
            Self::Container(error) => error.kind(),
            Self::Schedule(error) => error.kind(),
            Self::Drill(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

impl Engine {
    /// All metrics as they are now.
    ///
    /// # Errors
    /// [`MetricsError`]: there is no page with holes.
    pub fn metrics(&self) -> Result<String, MetricsError> {
        let mut page = Page::default();
        page.gauge("orlop_build_info", "The version of the engine.")
            .count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.volume_metrics(&mut page)?;
        self.snapshot_metrics(&mut page)?;
        self.trash_and_audit_metrics(&mut page)?;
        self.backup_metrics(&mut page)?;
        self.schedule_metrics(&mut page)?;
        self.drill_metrics(&mut page)?;
        self.container_metrics(&mut page)?;
        self.operation_metrics(&mut page)?;
        Ok(page.finish())
    }

    fn volume_metrics(&self, page: &mut Page) -> Result<(), MetricsError> {
        let all = self.volumes.overview()?;
        let storage: BTreeMap<_, _> = self
            .store
            .read(|tx| tx.all_volume_storage())?
            .into_iter()
            .collect();
        page.gauge("orlop_volumes", "Volumes that there are.")
            .count(&[], all.len() as u64);
        let mut users = page.gauge(
            "orlop_volume_users",
            "Containers that have the volume, running or not.",
        );
        for one in &all {
            users.count(&[("volume", &one.volume.name)], one.users as u64);
        }
        let mut protected = page.gauge(
            "orlop_volume_protected",
            "1 if the volume cannot be removed before it is unprotected.",
        );
        for one in &all {
            let value = u64::from(one.notes.protected);
            protected.count(&[("volume", &one.volume.name)], value);
        }
        let measured = || {
            all.iter()
                .filter_map(|one| Some((one.volume.name.as_str(), one.notes.measured.as_ref()?)))
        };
        let mut bytes = page.gauge(
            "orlop_volume_size_bytes",
            "What the volume took when it was measured last.",
        );
        for (name, size) in measured() {
            bytes.count(&[("volume", name)], size.bytes);
        }
        let mut files = page.gauge(
            "orlop_volume_inodes",
            "Files and directories of the volume when it was measured last.",
        );
        for (name, size) in measured() {
            files.count(&[("volume", name)], size.files);
        }
        let mut at = page.gauge(
            "orlop_volume_measured_timestamp_seconds",
            "When the volume was measured last.",
        );
        for (name, size) in measured() {
            at.moment(&[("volume", name)], &size.at);
        }
        let limits = || {
            all.iter().filter_map(|one| {
                let row = storage.get(one.volume.id.as_ref()?)?;
                Some((one.volume.name.as_str(), row))
            })
        };
        let mut limit = page.gauge("orlop_volume_limit_bytes", "What the volume may hold.");
        for (name, row) in limits() {
            if let Some(bytes) = row.bytes {
                limit.count(&[("volume", name)], bytes);
            }
        }
        let mut soft = page.gauge(
            "orlop_volume_soft_limit_bytes",
            "Above which somebody is told.",
        );
        for (name, row) in limits() {
            if let Some(bytes) = row.soft_bytes {
                soft.count(&[("volume", name)], bytes);
            }
        }
        let mut inodes = page.gauge(
            "orlop_volume_limit_inodes",
            "How many files and directories the volume may hold.",
        );
        for (name, row) in limits() {
            if let Some(count) = row.inodes {
                inodes.count(&[("volume", name)], count);
            }
        }
        Ok(())
    }

    fn snapshot_metrics(&self, page: &mut Page) -> Result<(), MetricsError> {
        let mut by_volume: BTreeMap<String, (u64, String)> = BTreeMap::new();
        for snapshot in self.volumes.snapshots(None)? {
            let entry = by_volume.entry(snapshot.volume).or_default();
            entry.0 += 1;
            if snapshot.created_at > entry.1 {
                entry.1 = snapshot.created_at;
            }
        }
        let mut count = page.gauge("orlop_volume_snapshots", "Snapshots of the volume.");
        for (volume, (number, _)) in &by_volume {
            count.count(&[("volume", volume)], *number);
        }
        let mut newest = page.gauge(
            "orlop_volume_snapshot_last_timestamp_seconds",
            "When the newest snapshot of the volume was made.",
        );
        for (volume, (_, at)) in &by_volume {
            newest.moment(&[("volume", volume)], at);
        }
        let schedules = self.snapshots.schedules()?;
        let mut failing = page.gauge(
            "orlop_snapshot_schedule_failures_in_a_row",
            "Scheduled snapshots of the volume that failed since the last one that did not.",
        );
        for schedule in &schedules {
            let times = schedule
                .kept
                .failure
                .as_ref()
                .map_or(0, |failure| failure.times);
            failing.count(&[("volume", &schedule.kept.volume)], u64::from(times));
        }
        let mut next = page.gauge(
            "orlop_snapshot_schedule_next_run_timestamp_seconds",
            "When the next scheduled snapshot of the volume is made.",
        );
        for schedule in &schedules {
            next.moment(
                &[("volume", &schedule.kept.volume)],
                &schedule.next.to_string(),
            );
        }
        let mut last = page.gauge(
            "orlop_snapshot_schedule_last_success_timestamp_seconds",
            "When the last scheduled snapshot of the volume was made.",
        );
        for schedule in &schedules {
            if let Some(time) = &schedule.kept.last_run {
                last.moment(&[("volume", &schedule.kept.volume)], time);
            }
        }
        Ok(())
    }

    fn trash_and_audit_metrics(&self, page: &mut Page) -> Result<(), MetricsError> {
        let trash = self.volumes.trash()?;
        page.gauge("orlop_trash_volumes", "Volumes in the trash.")
            .count(&[], trash.len() as u64);
        page.gauge(
            "orlop_trash_size_bytes",
            "What is known of the size of the trash.",
        )
        .count(&[], trash.iter().filter_map(|volume| volume.bytes).sum());
        let mut findings: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let wanted = AuditRequest {
            fast: true,
            level: Weight::Low,
        };
        for finding in self.audit_volumes(wanted)?.findings {
            let weight = match finding.weight {
                Weight::High => "high",
                Weight::Medium => "medium",
                Weight::Low => "low",
            };
            *findings.entry((weight, finding.kind)).or_default() += 1;
        }
        let mut found = page.gauge(
            "orlop_audit_findings",
            "What does not fit together: volume audit says more.",
        );
        for ((weight, kind), count) in findings {
            found.count(&[("weight", weight), ("kind", kind)], count);
        }
        Ok(())
    }

    fn backup_metrics(&self, page: &mut Page) -> Result<(), MetricsError> {
        let (rows, volumes) = self
            .store
            .read(|tx| Ok::<_, store::StoreError>((tx.volume_backups()?, tx.volumes()?)))?;
        let names: BTreeMap<_, _> = volumes.into_iter().map(|row| (row.id, row.name)).collect();
        let known = || {
            rows.iter().filter_map(|row| {
                let name = names.get(&row.volume)?;
                Some((
                    [
                        ("volume", name.as_str()),
                        ("repository", row.repository_name.as_str()),
                    ],
                    row,
                ))
            })
        };
        let mut at = page.gauge(
            "orlop_backup_last_success_timestamp_seconds",
            "The instant that the newest backup of the volume in the repository shows.",
        );
        for (labels, row) in known() {
            at.moment(&labels, &row.at);
        }
        let mut size = page.gauge(
            "orlop_backup_last_size_bytes",
            "Bytes of files in the newest backup.",
        );
        for (labels, row) in known() {
            size.count(&labels, row.bytes);
        }
        let mut stored = page.gauge(
            "orlop_backup_last_stored_bytes",
            "What the repository has grown by for the newest backup.",
        );
        for (labels, row) in known() {
            stored.count(&labels, row.stored_bytes);
        }
        Ok(())
    }

    fn schedule_metrics(&self, page: &mut Page) -> Result<(), MetricsError> {
        let schedules = self.schedules.list()?;
        let all = || {
            schedules.iter().map(|schedule| {
                let labels = [
                    ("schedule", schedule.name.as_str()),
                    ("repository", schedule.plan.to.as_str()),
                ];
                (labels, schedule)
            })
        };
        let mut runs = page.counter(
            "orlop_backup_schedule_runs_total",
            "Runs that ended, well or not.",
        );
        for (labels, schedule) in all() {
            runs.count(&labels, schedule.state.runs);
        }
        let mut failures =
            page.counter("orlop_backup_schedule_failures_total", "Runs that failed.");
        for (labels, schedule) in all() {
            failures.count(&labels, schedule.state.failures);
        }
        let mut failing = page.gauge(
            "orlop_backup_schedule_failures_in_a_row",
            "Runs that failed since the last one that did not.",
        );
        for (labels, schedule) in all() {
            failing.count(&labels, u64::from(schedule.state.failures_in_a_row));
        }
        let mut running = page.gauge(
            "orlop_backup_schedule_running",
            "1 while a run is under way.",
        );
        for (labels, schedule) in all() {
            let value = u64::from(schedule.state.running_since.is_some());
            running.count(&labels, value);
        }
        let mut next = page.gauge(
            "orlop_backup_schedule_next_run_timestamp_seconds",
            "When the next run begins.",
        );
        for (labels, schedule) in all() {
            if let Some(time) = schedule.next {
                next.moment(&labels, &time.to_string());
            }
        }
        let mut success = page.gauge(
            "orlop_backup_schedule_last_success_timestamp_seconds",
            "When the last run that did not fail ended.",
        );
        for (labels, schedule) in all() {
            if let Some(time) = &schedule.state.last_success {
                success.moment(&labels, time);
            }
        }
        let mut duration = page.gauge(
            "orlop_backup_schedule_last_duration_seconds",
            "How long the last run took.",
        );
        for (labels, schedule) in all() {
            if let Some(seconds) = schedule
                .state
                .last
                .as_ref()
                .and_then(|last| last.duration())
            {
                duration.sample(&labels, seconds);
            }
        }
        let mut bytes = page.gauge(
            "orlop_backup_schedule_last_size_bytes",
            "Bytes of files that the last run backed up.",
        );
        for (labels, schedule) in all() {
            if let Some(last) = &schedule.state.last {
                bytes.count(&labels, last.bytes);
            }
        }
        Ok(())
    }

    fn drill_metrics(&self, page: &mut Page) -> Result<(), MetricsError> {
        let proofs = self.drills.proofs()?;
        let mut proven = page.gauge(
            "orlop_drill_last_proven_timestamp_seconds",
            "When a drill last proved that the volume can be restored.",
        );
        for (volume, proof) in &proofs {
            if let Some(time) = &proof.last_proven {
                proven.moment(&[("volume", volume)], time);
            }
        }
        let mut last = page.gauge(
            "orlop_drill_last_timestamp_seconds",
            "When the last drill of the volume ended, well or not.",
        );
        for (volume, proof) in &proofs {
            last.moment(&[("volume", volume)], &proof.last_drill);
        }
        let mut failed = page.gauge(
            "orlop_drill_last_failed",
            "1 if the last drill of the volume failed.",
        );
        for (volume, proof) in &proofs {
            let value = u64::from(proof.last_failure.is_some());
            failed.count(&[("volume", volume)], value);
        }
        Ok(())
    }

    fn container_metrics(&self, page: &mut Page) -> Result<(), MetricsError> {
        let rows = self.containers.list(&ListRequest {
            all: true,
            ..ListRequest::default()
        })?;
        let mut states: BTreeMap<&str, u64> =
            ["created", "running", "paused", "restarting", "exited"]
                .map(|state| (state, 0))
                .into();
        for row in &rows {
            *states.entry(row.status.as_str()).or_default() += 1;
        }
        let mut count = page.gauge("orlop_containers", "Containers by state.");
        for (state, number) in states {
            count.count(&[("state", state)], number);
        }
        Ok(())
    }

    fn operation_metrics(&self, page: &mut Page) -> Result<(), MetricsError> {
        let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
        for row in self.store.read(|tx| tx.ops())? {
            *kinds.entry(row.kind).or_default() += 1;
        }
        page.gauge(
            "orlop_operations_in_flight",
            "Changes that have begun and not ended.",
        )
        .count(&[], kinds.values().sum());
        let mut by_kind = page.gauge(
            "orlop_operations_in_flight_by_kind",
            "The same by what they do.",
        );
        for (kind, count) in &kinds {
            by_kind.count(&[("kind", kind)], *count);
        }
        Ok(())
    }
}
