//! Draws the named console blocks of `docs/pictures.md`, which a test runs, as `docs/pictures/NAME.svg`.
//!
//! What a picture shows is so what the program says; a test finds those that were not drawn again.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/pictures.md";
const FOLDER: &str = "docs/pictures";

/// Of one line and one column, in the units of the drawing.
const LINE: usize = 20;
const COLUMN: usize = 8;
const MARGIN: usize = 16;
const BACKGROUND: &str = "#10202b";
const TYPED: &str = "#ffffff";
const ANSWERED: &str = "#a9c1cc";
const REFUSED: &str = "#ffb08a";

/// Each picture's file and content.
fn drawings(root: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let page = fs::read_to_string(root.join(PAGE))?;
    let mut drawings = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let name = line
            .strip_prefix("<!-- picture: ")
            .and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(name) = name {
            let block: Vec<&str> = lines
                .by_ref()
                .skip_while(|line| !line.starts_with("```"))
                .skip(1)
                .take_while(|line| !line.starts_with("```"))
                .collect();
            drawings.push((root.join(FOLDER).join(format!("{name}.svg")), draw(&block)));
        }
    }
    Ok(drawings)
}

/// Writes every picture.
#[expect(
    clippy::disallowed_methods,
    reason = "files of the source tree, which git keeps"
)]
pub(crate) fn write(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root.join(FOLDER))?;
    for (path, content) in drawings(root)? {
        fs::write(path, content)?;
    }
    Ok(())
}

fn draw(block: &[&str]) -> String {
    let columns = block
        .iter()
        .map(|line| shown(line).chars().count())
        .max()
        .unwrap_or(0);
    let width = columns * COLUMN + 2 * MARGIN;
    let height = block.len() * LINE + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, monospace\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for (number, line) in block.iter().enumerate() {
        let line = shown(line);
        let colour = if line.starts_with("$ ") {
            TYPED
        } else if line.starts_with("Error") || line.starts_with("hint:") {
            REFUSED
        } else {
            ANSWERED
        };
        let y = MARGIN + number * LINE + 14;
        let length = line.chars().count() * COLUMN;
        let text = line.replace('&', "&amp;").replace('<', "&lt;");
        // The width is said, so that no font of a reader moves the columns.
        writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{y}\" fill=\"{colour}\" textLength=\"{length}\" xml:space=\"preserve\">{text}</text>"
        )
        .expect("writing to a text cannot fail");
    }
    svg.push_str("</svg>\n");
    svg
}

/// What a person would type: without what only keeps a test's output the same.
fn shown(line: &str) -> &str {
    line.trim_end_matches(" || true")
        .trim_end_matches(" 2>/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_becomes_lines() {
        let svg = draw(&["$ orlop rm a || true", "Error: <b> & c"]);
        assert!(svg.contains(">$ orlop rm a</text>"), "{svg}");
        assert!(svg.contains(">Error: &lt;b> &amp; c</text>"), "{svg}");
    }

    /// Pictures that do not show what the page says now.
    fn stale(root: &Path) -> io::Result<Vec<PathBuf>> {
        let mut stale = Vec::new();
        for (path, content) in drawings(root)? {
            if fs::read_to_string(&path).ok().as_deref() != Some(content.as_str()) {
                stale.push(path);
            }
        }
        Ok(stale)
    }

    #[test]
    fn no_picture_is_out_of_date() {
        let stale = stale(crate::root()).unwrap();
        assert!(stale.is_empty(), "run `cargo xtask pictures`: {stale:?}");
    }
}
