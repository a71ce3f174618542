//! A container's state in Docker's words: `Up 3 seconds`, `Exited (0) 2 minutes ago`.

use jiff::Timestamp;
use store::ContainerListing;

use super::Status;

pub(super) fn status_text(row: &ContainerListing, status: Status, health: &str) -> String {
    let ago = |time: &str| {
        let then = time.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        human_duration(Timestamp::now().duration_since(then).as_secs())
    };
    match status {
        Status::Running => {
            let health = match health {
                "none" => String::new(),
                "starting" => " (health: starting)".to_owned(),
                other => format!(" ({other})"),
            };
            format!("Up {}{health}", ago(&row.started_at))
        }
        Status::Paused => format!("Up {} (Paused)", ago(&row.started_at)),
        Status::Restarting => format!(
            "Restarting ({}) {} ago",
            row.exit_code,
            ago(&row.finished_at)
        ),
        Status::Exited => format!("Exited ({}) {} ago", row.exit_code, ago(&row.finished_at)),
        Status::Created | Status::Creating => "Created".to_owned(),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
    }
}

/// A duration in Docker's rounded words.
fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_dockers_words() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86400, "3 days"),
            (21 * 86400, "3 weeks"),
            (90 * 86400, "3 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(human_duration(seconds), words);
        }
    }
}
