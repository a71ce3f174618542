//! Where the engine can be made to die: the names of all steps, read from its sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every step that the sources name: those of journaled operations, as [`Engine::resume_until`] takes them, and single
/// points.
///
/// [`Engine::resume_until`]: crate::Engine::resume_until
pub fn steps() -> BTreeSet<String> {
    let mut steps = steps_of("engine");
    steps.extend(steps_of("volumes"));
    steps
}

/// Those that the sources of one crate name.
pub fn steps_of(name: &str) -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut steps = BTreeSet::new();
    read(&crates.join(name).join("src"), &mut steps);
    steps
}

fn read(directory: &Path, steps: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read(&path, steps);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            steps.extend(
                text.split("fault::step(\"")
                    .skip(1)
                    .map(|rest| until_quote(rest).to_owned()),
            );
            // A journaled operation: its kind, then the names of its steps.
            for part in text.split("const KIND: &'static str = \"").skip(1) {
                let kind = until_quote(part);
                let names = part
                    .split("const STEPS")
                    .nth(1)
                    .and_then(|rest| rest.split("];").next());
                steps.insert(format!("{kind}:begin"));
                for name in names.unwrap_or_default().split("(\"").skip(1) {
                    let name = until_quote(name);
                    steps.insert(format!("{kind}:{name}"));
                    steps.insert(format!("{kind}:{name}:done"));
                }
                steps.insert(format!("{kind}:end"));
            }
        }
    }
}

fn until_quote(text: &str) -> &str {
    text.split('"').next().unwrap()
}
