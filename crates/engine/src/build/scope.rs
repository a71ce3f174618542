//! Variables: arguments in scope, automatic ones, and the environment above them.

use std::collections::BTreeMap;

use dockerfile::expand;

use super::BuildError;
use crate::containers::Config;

/// Arguments that a build takes without a declaration, and that leave no trace: they say how this host reaches the world.
const PROXIES: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

pub(super) fn is_proxy(name: &str) -> bool {
    PROXIES
        .iter()
        .any(|proxy| name == *proxy || name == proxy.to_ascii_lowercase())
}

/// What `FROM` lines see, and an `ARG` in a stage without a value of its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Globals {
    /// Of the client.
    pub(super) given: BTreeMap<String, Option<String>>,
    /// `TARGETPLATFORM` and its like.
    pub(super) automatic: BTreeMap<&'static str, String>,
    /// Declared before the first `FROM`.
    pub(super) declared: BTreeMap<String, String>,
    pub(super) escape: char,
}

impl Globals {
    pub(super) fn new(
        given: BTreeMap<String, Option<String>>,
        platforms: &Platforms,
        escape: char,
    ) -> Self {
        Self {
            given,
            automatic: platforms.arguments(),
            declared: BTreeMap::new(),
            escape,
        }
    }

    /// `ARG` before the first `FROM`.
    pub(super) fn declare(&mut self, name: &str, default: Option<&str>) -> Result<(), BuildError> {
        let value = match (self.given.get(name), default) {
            (Some(Some(given)), _) => Some(given.clone()),
            (_, Some(default)) => Some(self.word(default)?),
            (_, None) => None,
        };
        if let Some(value) = value {
            self.declared.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<String> {
        self.declared
            .get(name)
            .or_else(|| self.automatic.get(name))
            .cloned()
    }

    pub(super) fn word(&self, text: &str) -> Result<String, BuildError> {
        expand::word(text, self.escape, &|name| self.get(name)).map_err(|error| failed(&error))
    }
}

/// What the build is for, and what it runs on: `linux/amd64`.
#[derive(Debug, Clone)]
pub(super) struct Platforms {
    pub(super) build: String,
    pub(super) target: String,
    pub(super) stage: String,
}

impl Platforms {
    fn arguments(&self) -> BTreeMap<&'static str, String> {
        let part = |platform: &str, index: usize| {
            platform
                .split('/')
                .nth(index)
                .unwrap_or_default()
                .to_owned()
        };
        BTreeMap::from([
            ("BUILDPLATFORM", self.build.clone()),
            ("BUILDOS", part(&self.build, 0)),
            ("BUILDARCH", part(&self.build, 1)),
            ("BUILDVARIANT", part(&self.build, 2)),
            ("TARGETPLATFORM", self.target.clone()),
            ("TARGETOS", part(&self.target, 0)),
            ("TARGETARCH", part(&self.target, 1)),
            ("TARGETVARIANT", part(&self.target, 2)),
            ("TARGETSTAGE", self.stage.clone()),
        ])
    }
}

/// The arguments of one stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// In the order of their declaration.
    arguments: Vec<(String, Option<String>)>,
    escape: char,
}

impl Scope {
    pub(super) fn new(escape: char) -> Self {
        Self {
            arguments: Vec::new(),
            escape,
        }
    }

    /// `ARG`: the client's value, the default, or what was declared before the first `FROM`.
    pub(super) fn declare(
        &mut self,
        name: &str,
        default: Option<&str>,
        globals: &Globals,
        config: &Config,
    ) -> Result<(), BuildError> {
        let value = match (globals.given.get(name), default) {
            (Some(Some(given)), _) => Some(given.clone()),
            (_, Some(default)) => Some(self.word(default, config)?),
            (_, None) => globals.get(name),
        };
        self.arguments.retain(|(known, _)| known != name);
        self.arguments.push((name.to_owned(), value));
        Ok(())
    }

    fn get(&self, name: &str, config: &Config) -> Option<String> {
        environment(config, name).or_else(|| {
            self.arguments
                .iter()
                .find(|(known, _)| known == name)
                .and_then(|(_, value)| value.clone())
        })
    }

    pub(super) fn word(&self, text: &str, config: &Config) -> Result<String, BuildError> {
        expand::word(text, self.escape, &|name| self.get(name, config))
            .map_err(|error| failed(&error))
    }

    pub(super) fn words(&self, text: &str, config: &Config) -> Result<Vec<String>, BuildError> {
        expand::words(text, self.escape, &|name| self.get(name, config))
            .map_err(|error| failed(&error))
    }

    /// The content of a heredoc.
    pub(super) fn raw(&self, text: &str, config: &Config) -> Result<String, BuildError> {
        expand::raw(text, self.escape, &|name| self.get(name, config))
            .map_err(|error| failed(&error))
    }

    /// Declared arguments that have a value and are not hidden by the environment, as `NAME=value`.
    pub(super) fn in_use(&self, config: &Config) -> Vec<String> {
        self.arguments
            .iter()
            .filter(|(name, _)| environment(config, name).is_none())
            .filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)))
            .collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.arguments.iter().any(|(known, _)| known == name)
    }
}

fn environment(config: &Config, name: &str) -> Option<String> {
    config.env.iter().find_map(|entry| {
        let (key, value) = entry.split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}

fn failed(error: &expand::ExpandError) -> BuildError {
    BuildError::Expand {
        text: error.text.clone(),
        why: error.reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wins() {
        let platforms = Platforms {
            build: "linux/amd64".to_owned(),
            target: "linux/arm/v7".to_owned(),
            stage: String::new(),
        };
        let given = BTreeMap::from([("A".to_owned(), Some("given".to_owned()))]);
        let mut globals = Globals::new(given, &platforms, '\\');
        globals.declare("A", Some("default")).unwrap();
        globals.declare("B", Some("x$A")).unwrap();
        assert_eq!(
            globals.word("$A $B $TARGETARCH").unwrap(),
            "given xgiven arm"
        );
        let mut config = Config::default();
        let mut scope = Scope::new('\\');
        let word =
            |scope: &Scope, config: &Config| scope.word("$A$B$TARGETVARIANT", config).unwrap();
        assert_eq!(word(&scope, &config), "", "nothing is declared here");
        for name in ["B", "TARGETVARIANT", "HTTP_PROXY"] {
            scope.declare(name, None, &globals, &config).unwrap();
        }
        scope.declare("A", Some("d"), &globals, &config).unwrap();
        assert_eq!(word(&scope, &config), "givenxgivenv7");
        config.env.push("A=env".to_owned());
        assert_eq!(word(&scope, &config), "envxgivenv7");
        assert_eq!(scope.in_use(&config), ["B=xgiven", "TARGETVARIANT=v7"]);
        assert!(is_proxy("https_proxy") && !is_proxy("PROXY"));
    }
}
