//! `top`: the processes of a container, as `ps` on the host shows them.
//!
//! `ps` runs on the host with the user's arguments, and its rows are filtered by the pids of the container's cgroup;
//! that is Docker's way, and its limits are Docker's: the arguments must keep a PID column.

use super::cgroup::Group;
use super::find::Columns as _;
use super::{ContainerError, Containers};

#[derive(Debug, Clone, Default)]
pub struct Processes {
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Containers {
    /// `ps_args`: default `-ef`.
    pub fn top(&self, reference: &str, ps_args: Option<&str>) -> Result<Processes, ContainerError> {
        let row = self.find(reference)?;
        if !row.status()?.is_active() {
            return Err(ContainerError::Conflict(format!(
                "container {} is not running",
                row.id
            )));
        }
        let arguments = ps_args.filter(|text| !text.is_empty()).unwrap_or("-ef");
        let pids = self.pids(&row.id)?;
        let failed = |text: String| ContainerError::Invalid(format!("Error running ps: {text}"));
        let output = sys::command::run("ps", &arguments.split_whitespace().collect::<Vec<_>>())
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        let processes = parse(&String::from_utf8_lossy(&output.stdout), &pids)?;
        self.publish(&row, "top", &[]);
        Ok(processes)
    }

    /// Host pids of all processes in the container.
    pub(super) fn pids(&self, id: &str) -> Result<Vec<i32>, ContainerError> {
        Group::of(self.paths.tag(), id)
            .and_then(|group| group.pids())
            .map_err(|source| ContainerError::Io {
                action: format!("cannot list the processes of container {id}"),
                source,
            })
    }
}

fn parse(output: &str, pids: &[i32]) -> Result<Processes, ContainerError> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| {
            ContainerError::Invalid("Couldn't find PID field in ps output".to_owned())
        })?;
    let mut processes = Processes {
        rows: Vec::new(),
        titles,
    };
    for line in lines {
        let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let pid = fields.get(column).and_then(|field| field.parse().ok());
        if !pid.is_some_and(|pid: i32| pids.contains(&pid)) {
            continue;
        }
        // The last column is a command line with blanks of its own.
        let last = processes.titles.len().saturating_sub(1);
        if fields.len() > last {
            let command = fields.split_off(last).join(" ");
            fields.push(command);
        }
        processes.rows.push(fields);
    }
    Ok(processes)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_the_containers_rows_with_whole_commands() {
        let output = "UID   PID  PPID CMD\nroot   10     1 sleep 100\nroot   11     1 sh -c  x\n";
        let processes = parse(output, &[11]).expect("has PID");
        assert_eq!(processes.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(processes.rows, [["root", "11", "1", "sh -c x"]]);
        assert!(parse("CMD\nx\n", &[1]).is_err());
    }
}
