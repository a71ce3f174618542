//! `--volumes-from CONTAINER[:mode]`: every mount point of another container, as it is there.

use super::ResolvedMount;
use super::bind_spec::parse_mode;
use crate::containers::{ContainerError, Containers};

/// Splits the option; propagation and copy modes are not accepted here.
fn parse(spec: &str) -> Result<(&str, bool), ContainerError> {
    if spec.is_empty() {
        return Err(ContainerError::Invalid(
            "volumes-from specification cannot be an empty string".to_owned(),
        ));
    }
    let (container, mode_text) = spec.split_once(':').unwrap_or((spec, ""));
    match parse_mode(mode_text) {
        Some(mode) if mode.propagation.is_none() && !mode.nocopy && mode.idmap.is_none() => {
            Ok((container, mode.readonly))
        }
        _ => Err(ContainerError::Invalid(format!(
            "invalid mode: {mode_text}"
        ))),
    }
}

impl Containers {
    /// The mounts that `spec` brings. They are resolved now: the source may go away later.
    pub(crate) fn volumes_from(&self, spec: &str) -> Result<Vec<ResolvedMount>, ContainerError> {
        let (container, readonly) = parse(spec)?;
        let row = self
            .find(container)
            .map_err(|error| ContainerError::Invalid(error.to_string()))?;
        let mut mounts = self.stored_mounts(&row)?;
        mounts.retain(|mount| !mount.temporary);
        for mount in &mut mounts {
            mount.point.rw &= !readonly;
            mount.point.mode.clear();
            mount.copy = false;
        }
        Ok(mounts)
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn modes() {
        assert_eq!(parse("a").expect("plain"), ("a", false));
        assert_eq!(parse("a:ro,z").expect("ro"), ("a", true));
        for (spec, text) in [
            ("", "volumes-from specification cannot be an empty string"),
            ("a:shared", "invalid mode: shared"),
            ("a:nocopy", "invalid mode: nocopy"),
            ("a:b", "invalid mode: b"),
        ] {
            assert_eq!(parse(spec).expect_err(spec).to_string(), text);
        }
    }
}
