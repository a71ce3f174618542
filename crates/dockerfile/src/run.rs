//! What the shell of a `RUN` with heredocs is given.

use crate::heredoc::openings;
use crate::{Command, Heredoc, Run};

impl Run {
    /// The heredoc that is the whole command line (`RUN <<EOF`): a script for its `#!` line, or for the shell.
    pub fn script(&self) -> Option<&Heredoc> {
        match (&self.command, self.heredocs.as_slice()) {
            (Command::Shell(line), [heredoc]) => {
                let found = openings(line);
                let is_all =
                    found.first().map(|opening| opening.span.clone()) == Some(0..line.len());
                is_all.then_some(heredoc)
            }
            _ => None,
        }
    }

    /// The text for the shell, with heredocs as the shell reads them; nothing for the exec form. The content of a
    /// [script](Self::script) is the text.
    pub fn shell_text(&self) -> Option<String> {
        let Command::Shell(line) = &self.command else {
            return None;
        };
        if let Some(script) = self.script() {
            return Some(script.content.clone());
        }
        let mut text = line.clone();
        for heredoc in &self.heredocs {
            text.push('\n');
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.name);
        }
        if !self.heredocs.is_empty() {
            text.push('\n');
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Kind, parse_instruction};

    #[test]
    fn texts() {
        for (text, is_script, wanted) in [
            ("RUN a b", false, Some("a b")),
            ("RUN [\"a\"]", false, None),
            ("RUN <<E\na\nb\nE", true, Some("a\nb\n")),
            ("RUN <<-E\n\ta\nE", true, Some("a\n")),
            ("RUN cat <<E\na\nE", false, Some("cat <<E\na\nE\n")),
            ("RUN <<E cat\na\nE", false, Some("<<E cat\na\nE\n")),
            (
                "RUN a <<A && b <<'B'\n1\nA\n2\nB\n",
                false,
                Some("a <<A && b <<'B'\n1\nA\n2\nB\n"),
            ),
        ] {
            let Kind::Run(run) = parse_instruction(text, '\\').expect(text).kind else {
                panic!("{text} is no RUN");
            };
            assert_eq!(run.script().is_some(), is_script, "{text}");
            assert_eq!(run.shell_text().as_deref(), wanted, "{text}");
        }
    }
}
