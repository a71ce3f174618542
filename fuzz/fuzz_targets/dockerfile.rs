//! Any bytes as a Dockerfile: no panic, no stage without its lines, stored triggers read back, every word expanded.

#![no_main]

use dockerfile::{
    Command, Healthcheck, Instruction, Kind, Source, expand, parse, parse_instruction,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = match parse(bytes) {
        Ok(file) => file,
        Err(error) => {
            let report = error.report("Dockerfile");
            assert!(report.contains(&error.to_string()));
            assert!(error.lines.first <= error.lines.last);
            return;
        }
    };
    assert!(!file.stages.is_empty());
    let mut last = 0;
    for stage in &file.stages {
        assert!(stage.lines.first > last && stage.lines.first <= stage.lines.last);
        last = stage.lines.last;
        expand_all(&stage.image, file.escape);
        for instruction in &stage.instructions {
            assert!(instruction.lines.first > last);
            assert!(instruction.lines.first <= instruction.lines.last);
            last = instruction.lines.last;
            examine(instruction, file.escape);
        }
    }
});

fn lookup(name: &str) -> Option<String> {
    match name.len() % 4 {
        0 => None,
        1 => Some(String::new()),
        2 => Some("a b*/ä\\".to_owned()),
        _ => Some(name.repeat(2)),
    }
}

fn expand_all(text: &str, escape: char) {
    if let Ok(word) = expand::word(text, escape, &lookup) {
        let words = expand::words(text, escape, &lookup).expect("what is a word is words");
        assert!(words.iter().all(|word| !word.is_empty()));
        let length: usize = words.iter().map(String::len).sum();
        assert!(length <= word.len());
    }
    if let Err(error) = expand::raw(text, escape, &lookup) {
        assert!(!error.to_string().is_empty());
    }
}

fn examine(instruction: &Instruction, escape: char) {
    let each = |texts: &[String]| texts.iter().for_each(|text| expand_all(text, escape));
    match &instruction.kind {
        Kind::Add(copy) | Kind::Copy(copy) => {
            assert!(!copy.sources.is_empty());
            expand_all(&copy.destination, escape);
            for source in &copy.sources {
                match source {
                    Source::Path(path) => expand_all(path, escape),
                    Source::Heredoc(heredoc) => expand_all(&heredoc.content, escape),
                }
            }
        }
        Kind::Arg(arguments) => {
            for (name, value) in arguments {
                assert!(!name.is_empty());
                expand_all(value.as_deref().unwrap_or_default(), escape);
            }
        }
        Kind::Env(pairs) | Kind::Label(pairs) => {
            for (name, value) in pairs {
                assert!(!name.is_empty());
                expand_all(name, escape);
                expand_all(value, escape);
            }
        }
        Kind::Expose(texts) | Kind::Volume(texts) => {
            assert!(!texts.is_empty());
            each(texts);
        }
        Kind::Healthcheck(Healthcheck::Check { interval, .. }) => {
            if let Some(interval) = interval {
                dockerfile::duration::parse(interval).expect("a checked duration");
            }
        }
        Kind::Onbuild(trigger) => {
            let again = parse_instruction(&trigger.text, escape).expect("a stored trigger");
            assert_eq!(again.kind, trigger.kind);
            examine(trigger, escape);
        }
        Kind::Run(run) => {
            assert_ne!(run.command, Command::Exec(Vec::new()));
            assert_eq!(
                run.shell_text().is_none(),
                matches!(run.command, Command::Exec(_))
            );
        }
        Kind::Shell(words) => assert!(!words.is_empty()),
        Kind::Stopsignal(text) | Kind::User(text) | Kind::Workdir(text) => {
            expand_all(text, escape);
        }
        Kind::Cmd(_) | Kind::Entrypoint(_) | Kind::Healthcheck(_) | Kind::Maintainer(_) => {}
    }
}
