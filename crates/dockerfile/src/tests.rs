//! Whole files: what is accepted and how it is read, what is refused and in which words.

use super::*;

/// The instructions of the only stage of a file that begins with `FROM a`.
fn kinds(body: &str) -> Vec<Kind> {
    let text = format!("FROM a\n{body}");
    let mut file = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(file.stages.len(), 1, "{text}");
    let stage = file.stages.remove(0);
    stage
        .instructions
        .into_iter()
        .map(|instruction| instruction.kind)
        .collect()
}

fn one(body: &str) -> Kind {
    let mut kinds = kinds(body);
    assert_eq!(kinds.len(), 1, "{body}");
    kinds.remove(0)
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn shell(text: &str) -> Kind {
    run(Command::Shell(text.to_owned()), &[])
}

fn run(command: Command, heredocs: &[Heredoc]) -> Kind {
    Kind::Run(Run {
        command,
        heredocs: heredocs.to_vec(),
        mounts: Vec::new(),
        network: None,
        security: None,
    })
}

fn heredoc(name: &str, content: &str) -> Heredoc {
    Heredoc {
        name: name.to_owned(),
        content: content.to_owned(),
        expand: true,
        descriptor: 0,
    }
}

fn paths(sources: &[&str]) -> Vec<Source> {
    sources
        .iter()
        .map(|source| Source::Path((*source).to_owned()))
        .collect()
}

fn copy(sources: &[&str], destination: &str) -> Copy {
    Copy {
        sources: paths(sources),
        destination: destination.to_owned(),
        ..Copy::default()
    }
}

fn message(text: &str) -> String {
    match parse(text.as_bytes()) {
        Ok(file) => panic!("{text:?} was accepted: {file:?}"),
        Err(error) => error.to_string(),
    }
}

/// Cases on which other parsers fail.
#[test]
fn hard_cases() {
    // 1: a heredoc as a file.
    let mut wanted = copy(&[], "/etc/x");
    wanted.sources = vec![Source::Heredoc(heredoc("EOF", "a $B\n# c\n"))];
    assert_eq!(
        one("COPY <<EOF /etc/x\na $B\n# c\nEOF\n"),
        Kind::Copy(wanted)
    );
    // 2: a heredoc that is not at the start of the line.
    assert_eq!(
        one("RUN python3 - <<PY\nprint(1)\nPY\n"),
        run(
            Command::Shell("python3 - <<PY".to_owned()),
            &[heredoc("PY", "print(1)\n")]
        )
    );
    // 3: two heredocs in a line.
    assert_eq!(
        kinds("RUN cat <<A > a && cat <<B > b\n1\nA\n2\nB\nRUN c"),
        [
            run(
                Command::Shell("cat <<A > a && cat <<B > b".to_owned()),
                &[heredoc("A", "1\n"), heredoc("B", "2\n")]
            ),
            shell("c")
        ]
    );
    // 4: a chomped heredoc whose name is quoted.
    let wanted = Heredoc {
        expand: false,
        ..heredoc("E", "a\n")
    };
    assert_eq!(
        one("RUN <<-\"E\"\n\ta\n\tE\n"),
        run(Command::Shell("<<-\"E\"".to_owned()), &[wanted])
    );
    // 5: another escape character.
    let file = parse(b"# escape=`\nFROM a\nRUN dir `\n  c:\\\n").expect("an escape directive");
    assert_eq!(file.escape, '`');
    assert_eq!(file.stages[0].instructions[0].kind, shell("dir   c:\\"));
    // 6: a health check over two lines.
    assert_eq!(
        one("HEALTHCHECK --interval=5m \\\n  CMD curl -f x || exit 1"),
        Kind::Healthcheck(Healthcheck::Check {
            command: Command::Shell("curl -f x || exit 1".to_owned()),
            interval: Some("5m".to_owned()),
            timeout: None,
            start_period: None,
            start_interval: None,
            retries: None,
        })
    );
    // 7: a mount and a command in the exec form.
    let Kind::Run(found) = one("RUN --mount=type=cache,target=/c --network=none [\"a\"]") else {
        panic!("no RUN");
    };
    assert_eq!(found.mounts[0].target, "/c");
    assert_eq!(found.network.as_deref(), Some("none"));
    assert_eq!(found.command, Command::Exec(owned(&["a"])));
    // 8: what only looks like JSON.
    assert_eq!(one("RUN ['a', 'b']"), shell("['a', 'b']"));
    // 9: line ends of another system.
    assert_eq!(
        kinds("RUN a \\\r\n b\r\nENV X=1\r\n"),
        [
            shell("a  b"),
            Kind::Env(vec![("X".to_owned(), "1".to_owned())])
        ]
    );
    // 10: lower case, and one-letter names.
    let file = parse(b"from A as B\nrun c").expect("lower case");
    assert_eq!(file.stages[0].image, "A");
    assert_eq!(file.stages[0].name.as_deref(), Some("b"));
    assert_eq!(file.stages[0].instructions[0].kind, shell("c"));
    // 11: comments and blank lines inside an instruction.
    assert_eq!(
        one("RUN a && \\\n# why\n  # indented\n\n  b"),
        shell("a &&   b")
    );
    // 12: triggers.
    let Kind::Onbuild(trigger) = one("ONBUILD COPY --from=x . /a") else {
        panic!("no ONBUILD");
    };
    assert_eq!(trigger.text, "COPY --from=x . /a");
    let mut wanted = copy(&["."], "/a");
    wanted.from = Some("x".to_owned());
    assert_eq!(trigger.kind, Kind::Copy(wanted));
    // 13: arguments without value, several in a line, before the first stage.
    let file = parse(b"ARG V W=1\nFROM a:${V}\nARG V").expect("arguments");
    assert_eq!(
        file.arguments[0].kind,
        Kind::Arg(vec![
            ("V".to_owned(), None),
            ("W".to_owned(), Some("1".to_owned()))
        ])
    );
    assert_eq!(file.stages[0].image, "a:${V}");
    // 14: an escape character at the end of the file.
    assert_eq!(one("RUN a \\"), shell("a"));
    // 15: quoted and escaped blanks.
    assert_eq!(
        one("ENV A=\"x y\" B=p\\ q C='$X'"),
        Kind::Env(vec![
            ("A".to_owned(), "\"x y\"".to_owned()),
            ("B".to_owned(), "p\\ q".to_owned()),
            ("C".to_owned(), "'$X'".to_owned())
        ])
    );
    // 16: names with blanks.
    assert_eq!(
        one("COPY [\"a b\", \"c d/\"]"),
        Kind::Copy(copy(&["a b"], "c d/"))
    );
    // 17: a number sign inside a line.
    assert_eq!(one("RUN echo '# no comment'"), shell("echo '# no comment'"));
    // 18: an unknown instruction.
    assert_eq!(
        message("FROM a\n\nCOPPY x y"),
        "dockerfile parse error on line 3: unknown instruction: COPPY (did you mean COPY?)"
    );
}

#[test]
fn kinds_of_instructions() {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let exec = |words: &[&str]| Command::Exec(owned(words));
    for (text, wanted) in [
        ("ADD a b /c", Kind::Add(copy(&["a", "b"], "/c"))),
        (
            "ADD --chown=1:2 --chmod=644 --link --keep-git-dir=true --checksum=sha256:x --unpack=false u /c",
            Kind::Add(Copy {
                chown: Some("1:2".to_owned()),
                chmod: Some("644".to_owned()),
                link: true,
                keep_git_dir: true,
                checksum: Some("sha256:x".to_owned()),
                unpack: Some(false),
                ..copy(&["u"], "/c")
            }),
        ),
        (
            "COPY --parents --exclude=*.md --exclude=x --link=false ./a/./b /c",
            Kind::Copy(Copy {
                parents: true,
                exclude: owned(&["*.md", "x"]),
                ..copy(&["./a/./b"], "/c")
            }),
        ),
        ("CMD a b", Kind::Cmd(Command::Shell("a b".to_owned()))),
        ("CMD [\"a\", \"b\"]", Kind::Cmd(exec(&["a", "b"]))),
        ("CMD", Kind::Cmd(exec(&[]))),
        ("ENTRYPOINT []", Kind::Entrypoint(exec(&[]))),
        (
            "ENTRYPOINT exec x",
            Kind::Entrypoint(Command::Shell("exec x".to_owned())),
        ),
        ("ENV a b c", Kind::Env(pairs(&[("a", "b c")]))),
        ("ENV a=b c=", Kind::Env(pairs(&[("a", "b"), ("c", "")]))),
        (
            "LABEL \"a.b\"=\"c d\" e=f",
            Kind::Label(pairs(&[("\"a.b\"", "\"c d\""), ("e", "f")])),
        ),
        (
            "EXPOSE 80 443/udp $P",
            Kind::Expose(owned(&["80", "443/udp", "$P"])),
        ),
        ("HEALTHCHECK NONE", Kind::Healthcheck(Healthcheck::None)),
        ("MAINTAINER a <b>", Kind::Maintainer("a <b>".to_owned())),
        (
            "SHELL [\"bash\", \"-c\"]",
            Kind::Shell(owned(&["bash", "-c"])),
        ),
        ("STOPSIGNAL SIGTERM", Kind::Stopsignal("SIGTERM".to_owned())),
        ("USER a:b", Kind::User("a:b".to_owned())),
        ("VOLUME /a /b", Kind::Volume(owned(&["/a", "/b"]))),
        (
            "VOLUME [\"/a b\", \" /c \"]",
            Kind::Volume(owned(&["/a b", "/c"])),
        ),
        ("WORKDIR /a b", Kind::Workdir("/a b".to_owned())),
        ("USER <<A", Kind::User("<<A".to_owned())),
        ("RUN -- --mount", shell("--mount")),
        ("RUN \"<<E\"", shell("\"<<E\"")),
        ("RUN [\"<<E\"]", run(exec(&["<<E"]), &[])),
    ] {
        assert_eq!(one(text), wanted, "{text}");
    }
}

#[test]
fn heredocs_among_sources() {
    let mut wanted = copy(&["a"], "/d/");
    wanted.sources.push(Source::Heredoc(heredoc("X", "Y\n")));
    wanted.sources.push(Source::Path("b".to_owned()));
    wanted.sources.push(Source::Heredoc(heredoc("Y", "X\n")));
    assert_eq!(
        one("COPY a <<X b <<Y /d/\nY\nX\nX\nY\n"),
        Kind::Copy(wanted)
    );
    let Kind::Add(found) = one("ADD --chmod=755 << 'a b' /d\r\n1\r\na b\r\n") else {
        panic!("no ADD");
    };
    let wanted = Heredoc {
        expand: false,
        ..heredoc("a b", "1\r\n")
    };
    assert_eq!(found.sources, [Source::Heredoc(wanted)]);
}

#[test]
fn stages_and_lines() {
    let text = "# syntax=docker/dockerfile:1\nARG V=1\n\nFROM --platform=$P a:$V AS One\nRUN x \\\n  y\nRUN <<E\nz\nE\nFROM one\nFROM scratch as two.3-_\nCOPY --from=One a b\n";
    let file = parse(text.as_bytes()).expect("stages");
    assert_eq!(file.escape, '\\');
    let stages: Vec<_> = file
        .stages
        .iter()
        .map(|stage| {
            (
                stage.name.as_deref(),
                stage.image.as_str(),
                stage.lines.first,
            )
        })
        .collect();
    assert_eq!(
        stages,
        [
            (Some("one"), "a:$V", 4),
            (None, "one", 10),
            (Some("two.3-_"), "scratch", 11)
        ]
    );
    let first = &file.stages[0];
    assert_eq!(first.platform.as_deref(), Some("$P"));
    assert_eq!(first.text, "FROM --platform=$P a:$V AS One");
    let lines: Vec<_> = first
        .instructions
        .iter()
        .map(|instruction| {
            (
                instruction.lines.first,
                instruction.lines.last,
                instruction.text.as_str(),
            )
        })
        .collect();
    assert_eq!(lines, [(5, 6, "RUN x   y"), (7, 9, "RUN <<E")]);
    assert_eq!(file.warnings, []);
}

#[test]
fn triggers_survive_storage() {
    let Kind::Onbuild(trigger) = one("ONBUILD RUN cat <<-'A' <<B\n\t1\n\tA\n2\nB\n") else {
        panic!("no ONBUILD");
    };
    assert_eq!(trigger.text, "RUN cat <<-'A' <<B\n\t1\nA\n2\nB");
    let again = parse_instruction(&trigger.text, '\\').expect("the stored trigger");
    let (Kind::Run(first), Kind::Run(second)) = (trigger.kind, again.kind) else {
        panic!("no RUN");
    };
    assert_eq!(first.heredocs, second.heredocs);
    assert_eq!(first.heredocs[0].content, "1\n");
    for text in [
        "COPY a b\\\u{c}",
        "COPY a b\\\u{a0}",
        "-- RUN <<A\n1\nA",
        "RUN a\\\r\\",
        "RUN a\r \\",
    ] {
        let Kind::Onbuild(trigger) = one(&format!("ONBUILD {text}")) else {
            panic!("no ONBUILD");
        };
        let again = parse_instruction(&trigger.text, '\\').expect("the stored trigger");
        assert_eq!(again.kind, trigger.kind, "{text}");
    }
}

#[test]
fn warns() {
    for (body, line, wanted) in [
        (
            "RUN a \\\n\n b",
            2,
            "Empty continuation line found in: RUN a  b",
        ),
        (
            "CMD ['a']",
            2,
            "CMD looks like a JSON array but is not one: the shell gets it as it is",
        ),
        (
            "ONBUILD CMD [\"a\"",
            2,
            "CMD looks like a JSON array but is not one: the shell gets it as it is",
        ),
        (
            "\nMAINTAINER x",
            3,
            "Maintainer instruction is deprecated in favor of using label",
        ),
        (
            "ENV a b",
            2,
            "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
        ),
        (
            "RUN <<E\n\u{fffd}\nE\nUSER \u{1}",
            2,
            "bytes that are not UTF-8 were replaced",
        ),
    ] {
        let mut text = format!("FROM a\n{body}").into_bytes();
        // Stands for a byte that is not UTF-8.
        if let Some(bad) = text.iter_mut().find(|byte| **byte == 1) {
            *bad = 0xff;
        }
        let warnings = parse(&text).expect(body).warnings;
        assert_eq!(warnings.len(), 1, "{body}");
        assert_eq!(warnings[0].text, wanted);
        if wanted.starts_with("bytes") {
            assert_eq!(warnings[0].lines.first, 5);
        } else {
            assert_eq!(warnings[0].lines.first, line);
        }
    }
}

#[test]
fn refuses_files() {
    for (text, wanted) in [
        ("", "file with no instructions"),
        ("# a\n\n", "file with no instructions"),
        ("ARG a", "dockerfile contains no stages to build"),
        (
            "\nRUN a",
            "dockerfile parse error on line 2: no build stage in current context",
        ),
        (
            "FROM a AS b\nFROM c AS B",
            "dockerfile parse error on line 2: b stage name already used",
        ),
        (
            "# escape=x\nFROM a",
            "dockerfile parse error on line 1: invalid escape token 'x' does not match ` or \\",
        ),
        (
            "FROM a\nRUN <<E\nb\n",
            "dockerfile parse error on line 2: unterminated heredoc: no line is \"E\"",
        ),
    ] {
        assert_eq!(message(text), wanted);
    }
}

#[test]
fn refuses_instructions() {
    for (body, wanted) in [
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a of b", "FROM requires either one or three arguments"),
        (
            "FROM a AS 1b",
            "invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
        ),
        (
            "FROM a AS b/c",
            "invalid name for build stage: \"b/c\", name can't start with a number or contain symbols",
        ),
        (
            "FROM --platfrom=x a",
            "unknown flag: --platfrom (did you mean platform?)",
        ),
        ("FROM --platform a", "missing a value on flag: --platform"),
        (
            "COPY --form=b /a /a",
            "unknown flag: --form (did you mean from?)",
        ),
        ("COPY --from b /a /a", "missing a value on flag: --from"),
        (
            "COPY --from=a --from=b /a /a",
            "duplicate flag specified: --from",
        ),
        (
            "COPY --link=maybe /a /a",
            "expecting boolean value for flag --link, not: maybe",
        ),
        ("ADD --from=a b c", "unknown flag: --from"),
        (
            "COPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        (
            "ADD",
            "ADD requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        (
            "COPY a <<E\nE",
            "COPY cannot accept a heredoc as a destination",
        ),
        (
            "COPY [\"a\", 1]",
            "when using JSON array syntax, arrays must be comprised of strings only",
        ),
        (
            "RUN [\"a\", null]",
            "when using JSON array syntax, arrays must be comprised of strings only",
        ),
        ("RUN", "RUN requires at least one argument"),
        ("RUN []", "RUN requires at least one argument"),
        ("RUN --network=bridge a", "invalid network mode \"bridge\""),
        ("RUN --security=x a", "security \"x\" is not valid"),
        (
            "RUN --mount=type=bnd,target=/a a",
            "unsupported mount type \"bnd\" (did you mean bind?)",
        ),
        ("CMD --x a", "unknown flag: --x"),
        ("ENV a", "ENV must have two arguments"),
        ("LABEL", "LABEL requires at least one argument"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =a", "ARG names can not be blank"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ("VOLUME []", "VOLUME requires at least one argument"),
        (
            "VOLUME [\" \"]",
            "VOLUME specified can not be an empty string",
        ),
        ("USER", "USER requires exactly one argument"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        (
            "SHELL bash -c",
            "SHELL requires the arguments to be in JSON form",
        ),
        ("SHELL []", "SHELL requires at least one argument"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        (
            "ONBUILD ONBUILD RUN a",
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        ),
        ("ONBUILD FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        (
            "ONBUILD maintainer a",
            "MAINTAINER isn't allowed as an ONBUILD trigger",
        ),
        (
            "ONBUILD RUM a",
            "unknown instruction: RUM (did you mean RUN?)",
        ),
        ("INCLUDE a", "unknown instruction: INCLUDE"),
    ] {
        let wanted = format!("dockerfile parse error on line 2: {wanted}");
        assert_eq!(message(&format!("FROM x AS y\n{body}")), wanted);
    }
}

#[test]
fn single_instructions() {
    let found = parse_instruction("env A=1", '\\').expect("a change");
    assert_eq!(
        found.kind,
        Kind::Env(vec![("A".to_owned(), "1".to_owned())])
    );
    for (text, wanted) in [
        ("", "file with no instructions"),
        (
            "FROM a",
            "dockerfile parse error on line 1: FROM is not allowed here",
        ),
        (
            "USER a\nUSER b",
            "dockerfile parse error on line 2: only one instruction is allowed here",
        ),
        (
            "USR a",
            "dockerfile parse error on line 1: unknown instruction: USR (did you mean USER?)",
        ),
    ] {
        let error = parse_instruction(text, '\\').expect_err(text);
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn reports_place() {
    let error = parse(b"FROM a\nRUN b \\\n  c\nCOPY \\\n  --form=x \\\n y z\nRUN d\n")
        .expect_err("an unknown flag");
    assert_eq!(error.lines, Lines { first: 4, last: 6 });
    assert_eq!(error.instruction.as_deref(), Some("COPY"));
    assert_eq!(error.suggestion.as_deref(), Some("from"));
    let shown: Vec<usize> = error.shown.iter().map(|(number, _)| *number).collect();
    assert_eq!(shown, [2, 3, 4, 5, 6, 7]);
    assert!(
        error
            .report("Dockerfile")
            .contains("   5 | >>>   --form=x \\\n")
    );
}
