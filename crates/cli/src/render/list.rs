//! Lists: a table by default, or what `--format` and `-q` ask for.

use serde_json::{Map, Value};

use super::template::Template;
use crate::failure::{Failure, Outcome};

/// Columns of the default table: header and placeholder.
pub(crate) type Columns<'a> = &'a [(&'a str, &'a str)];

/// One line of a list: placeholder → text, in docker's order.
pub(crate) type Row = Map<String, Value>;

/// Prints rows. `headers` knows every placeholder's header, for `table` templates.
pub(crate) fn print(
    rows: &[Row],
    columns: Columns<'_>,
    headers: Columns<'_>,
    format: Option<&str>,
) -> Outcome<()> {
    match format.unwrap_or("table") {
        "table" => print_table(
            columns,
            rows.iter()
                .map(|row| columns.iter().map(|(_, key)| text(row.get(*key))).collect()),
        ),
        "json" => {
            for row in rows {
                println!("{}", Value::Object(row.clone()));
            }
        }
        format => {
            let (with_head, source) = match format.strip_prefix("table ") {
                Some(source) => (true, source),
                None => (false, format),
            };
            let source = source.trim().replace("\\t", "\t").replace("\\n", "\n");
            let template = parse(&source)?;
            let mut lines = Vec::new();
            if with_head {
                let names: Row = headers
                    .iter()
                    .map(|(header, key)| ((*key).to_owned(), Value::from(*header)))
                    .collect();
                lines.push(apply(&template, &Value::Object(names))?);
            }
            for row in rows {
                lines.push(apply(&template, &Value::Object(row.clone()))?);
            }
            if with_head {
                let cells: Vec<Vec<String>> = lines
                    .iter()
                    .map(|line| line.split('\t').map(str::to_owned).collect())
                    .collect();
                print!("{}", table(&cells));
            } else {
                lines.iter().for_each(|line| println!("{line}"));
            }
        }
    }
    Ok(())
}

/// Lines of cells below the columns' headers.
pub(crate) fn print_table(columns: Columns<'_>, lines: impl Iterator<Item = Vec<String>>) {
    let head = columns
        .iter()
        .map(|(header, _)| (*header).to_owned())
        .collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(lines).collect();
    print!("{}", table(&all));
}

/// Go template of `--format`; unknown fields are an error, as for docker's lists.
pub(crate) fn parse(source: &str) -> Outcome<Template> {
    Template::parse(source)
        .map(Template::with_missing_key_error)
        .map_err(|error| Failure::new(format!("template parsing error: {error}")))
}

pub(crate) fn apply(template: &Template, value: &Value) -> Outcome<String> {
    template
        .render(value)
        .map_err(|error| Failure::new(error.to_string()))
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Cells in columns, three blanks apart; the last column is not padded.
pub(crate) fn table(lines: &[Vec<String>]) -> String {
    wide_table(lines, 10)
}

/// As [`table`], with columns of at least `least` letters.
pub(crate) fn wide_table(lines: &[Vec<String>], least: usize) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < columns {
                let blanks = (widths[column] + 3).max(least) - cell.chars().count();
                out.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        out.push('\n');
    }
    out
}

/// `inspect --format`: the template over the raw object; without one the JSON, indented by four.
pub(crate) fn print_inspected(objects: &[Value], format: Option<&str>) -> Outcome<()> {
    match format {
        None => println!("{}", pretty(&Value::Array(objects.to_vec()))),
        Some("json") => println!("{}", Value::Array(objects.to_vec())),
        Some(source) => {
            let template = parse(&source.replace("\\t", "\t").replace("\\n", "\n"))?;
            for object in objects {
                let mut object = object.clone();
                if let Some(Value::Object(state)) = object.get_mut("State") {
                    // A field that is left out where there is nothing, and asked for all the same.
                    state.entry("Health").or_insert(Value::Null);
                }
                println!("{}", apply(&template, &object)?);
            }
        }
    }
    Ok(())
}

/// JSON as docker's `inspect` prints it.
pub(crate) fn pretty(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(value, &mut serializer).expect("JSON serialises");
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let cells = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(
            table(&[cells(&["DRIVER", "VOLUME NAME"]), cells(&["local", "x"])]),
            "DRIVER    VOLUME NAME\nlocal     x\n"
        );
    }
}
