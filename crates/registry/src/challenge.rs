//! What a registry wants to see before it answers: the header `WWW-Authenticate`.

/// One way to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Lower case.
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads the challenges of one header: `Bearer realm="…",service="…"`. What cannot be read is left out.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start();
        if let Some(value) = after.strip_prefix('=')
            && let Some(challenge) = challenges.last_mut()
        {
            let (value, left) = value_of(value.trim_start());
            challenge
                .parameters
                .push((word.to_ascii_lowercase(), value));
            rest = left;
        } else if !word.is_empty() {
            challenges.push(Challenge {
                scheme: word.to_ascii_lowercase(),
                parameters: Vec::new(),
            });
            rest = after;
        } else {
            // A stray sign.
            let mut letters = rest.chars();
            letters.next();
            rest = letters.as_str();
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    challenges
}

/// A word or a quoted string, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', ',', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[index + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_registries() {
        let found = parse(
            r#"Bearer realm="https://auth.example/token",service="reg,istry",scope="repository:a:pull",error=insufficient_scope, Basic realm="x \"y\"""#,
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].scheme, "bearer");
        assert_eq!(found[0].get("realm"), Some("https://auth.example/token"));
        assert_eq!(found[0].get("service"), Some("reg,istry"));
        assert_eq!(found[0].get("error"), Some("insufficient_scope"));
        assert_eq!(found[1].scheme, "basic");
        assert_eq!(found[1].get("realm"), Some("x \"y\""));
        assert_eq!(parse("Basic").len(), 1);
        for hostile in ["", ",,,", "=", "=\"", "a=\"\\", "  =x, y"] {
            assert!(parse(hostile).len() <= 2, "{hostile}");
        }
    }
}
