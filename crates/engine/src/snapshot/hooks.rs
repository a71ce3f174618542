//! Commands around a snapshot, ready-made for servers that people run in containers.
//!
//! None of them has to hold a lock over the snapshot, which a command that ends could not: what each leaves on the disk is
//! complete by itself, or is made complete by the server's own recovery, and the container is frozen while it is copied.

use std::time::Duration;

use super::TurnBackError;

/// All of them, for people.
pub(super) const NAMES: &str = "postgresql, mariadb, mysql, redis";

/// How long a command may take, when nobody said.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Commands for `sh -c` in containers; an empty one is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(super) recipes: Vec<Recipe>,
    /// In each container that writes, after the recipes.
    pub(super) before: String,
    pub(super) after: String,
    /// For each of them; what takes longer is killed.
    pub(super) limit: Duration,
}

/// A ready-made command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) name: &'static str,
    /// The container that it is for; `None`: each that has one of the programs.
    pub(super) container: Option<String>,
    pub(super) programs: &'static [&'static str],
    pub(super) command: &'static str,
}

impl Default for Hook {
    fn default() -> Self {
        Self {
            recipes: Vec::new(),
            before: String::new(),
            after: String::new(),
            limit: PATIENCE,
        }
    }
}

impl Hook {
    pub(super) fn is_empty(&self) -> bool {
        self.recipes.is_empty() && self.before.is_empty() && self.after.is_empty()
    }
}

impl Recipe {
    /// A command that succeeds where one of the programs is.
    pub(super) fn probe(&self) -> String {
        let looks = self.programs.iter();
        let looks = looks.map(|program| format!("command -v {program} >/dev/null 2>&1"));
        looks.collect::<Vec<_>>().join(" || ")
    }
}

/// The recipes that `RECIPE` and `CONTAINER=RECIPE`, separated by commas, name.
///
/// # Errors
/// [`TurnBackError::Recipe`].
pub(super) fn recipes(text: &str) -> Result<Vec<Recipe>, TurnBackError> {
    let words = text.split(',').filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (container, name) = match word.split_once('=') {
                Some((container, name)) => (Some(container.to_owned()), name),
                None => (None, word),
            };
            let (name, programs, command): (_, &[&str], _) = match name {
                "postgresql" => ("postgresql", &["psql"], POSTGRESQL),
                "mariadb" => ("mariadb", &["mariadb", "mysql"], MARIADB),
                "mysql" => ("mysql", &["mariadb", "mysql"], MARIADB),
                "redis" => ("redis", &["redis-cli"], REDIS),
                _ => return Err(TurnBackError::Recipe(name.to_owned())),
            };
            Ok(Recipe {
                name,
                container,
                programs,
                command,
            })
        })
        .collect()
}

/// Everything committed is in the log anyway; a checkpoint makes the recovery of the copy short.
const POSTGRESQL: &str = r#"psql -X -q -v ON_ERROR_STOP=1 -U "${POSTGRES_USER:-postgres}" -d "${POSTGRES_DB:-postgres}" -c CHECKPOINT"#;

/// Closes the tables of engines without a log, and writes out the logs of those that have one.
const MARIADB: &str = r#"client=$(command -v mariadb || command -v mysql) || exit 127
export MYSQL_PWD="${MARIADB_ROOT_PASSWORD:-${MYSQL_ROOT_PASSWORD:-}}"
"$client" -uroot -e 'FLUSH TABLES; FLUSH LOGS'"#;

/// Has the data written in the background and waits for its end.
const REDIS: &str = r#"ask() { redis-cli ${REDIS_PASSWORD:+-a "$REDIS_PASSWORD" --no-auth-warning} "$@"; }
busy() { ask INFO persistence | grep -q 'rdb_bgsave_in_progress:1'; }
while busy; do sleep 0.1; done
ask BGSAVE | grep -qi 'started' || exit 1
while busy; do sleep 0.1; done
ask INFO persistence | grep -q 'rdb_last_bgsave_status:ok'"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_for_all_or_for_one() {
        let names = |text| -> Vec<(Option<String>, &str)> {
            let found = recipes(text).expect(text).into_iter();
            found
                .map(|recipe| (recipe.container, recipe.name))
                .collect()
        };
        assert_eq!(names(""), []);
        assert_eq!(names("redis"), [(None, "redis")]);
        assert_eq!(
            names("db=postgresql,redis"),
            [(Some("db".to_owned()), "postgresql"), (None, "redis")]
        );
        for wrong in ["oracle", "db=oracle", "db=", "postgresql=db"] {
            recipes(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn a_program_is_looked_for() {
        let recipe = &recipes("mysql").expect("a recipe")[0];
        assert_eq!(
            recipe.probe(),
            "command -v mariadb >/dev/null 2>&1 || command -v mysql >/dev/null 2>&1"
        );
    }
}
