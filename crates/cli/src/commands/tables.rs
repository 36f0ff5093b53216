//! `tables`: what can be asked.

use crate::args::{Common, Tables};
use crate::failure::{Failure, USAGE};
use crate::output::style::{DIM, HEADING, paint};
use afterimage_tables::{TABLES, Table, find, json_schema};
use serde_json::json;
use std::io::Write;

pub fn tables(arguments: &Tables, common: &Common) -> Result<u8, Failure> {
    let mut out = crate::output::stdout();
    if arguments.schema {
        writeln!(out, "{}", serde_json::to_string_pretty(&json_schema()).unwrap_or_default())?;
        out.flush()?;
        return Ok(0);
    }
    if arguments.markdown {
        write!(out, "{}", markdown())?;
        out.flush()?;
        return Ok(0);
    }
    let chosen: Vec<&Table> = match &arguments.table {
        Some(name) => vec![find(name).ok_or_else(|| {
            Failure::new(USAGE, format!("tables: there is no table {name}")).advise(super::nearest::advice(name))
        })?],
        None => TABLES.iter().collect(),
    };
    for (i, table) in chosen.iter().enumerate() {
        if common.json {
            writeln!(out, "{}", as_json(table))?;
            continue;
        }
        if i > 0 {
            writeln!(out)?;
        }
        let alias = table.alias.map(|alias| format!(" (also: {alias})")).unwrap_or_default();
        writeln!(out, "{}{alias}  {}", paint(HEADING, table.name), one_line(table.doc))?;
        for param in table.params {
            writeln!(out, "  {}  {}", paint(DIM, &format!("{}=…", param.name)), param.doc)?;
        }
        let width = table.columns.iter().map(|column| column.name.len()).max().unwrap_or(0);
        for column in table.columns {
            let kind = paint(DIM, &format!("{:8}", column.kind.word()));
            writeln!(out, "  {:width$}  {kind}  {}", column.name, one_line(column.doc))?;
        }
    }
    out.flush()?;
    Ok(0)
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn as_json(table: &Table) -> serde_json::Value {
    let column = |column: &afterimage_tables::Column| {
        json!({
            "name": column.name, "type": column.kind.word(), "optional": column.optional, "doc": one_line(column.doc),
        })
    };
    json!({
        "table": table.name,
        "alias": table.alias,
        "doc": one_line(table.doc),
        "keys": table.params.iter().map(|param| json!({ "name": param.name, "doc": param.doc })).collect::<Vec<_>>(),
        "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
    })
}

/// The manual that stands in `docs/tables.md`.
fn markdown() -> String {
    let mut text = String::from(
        "# Tables\n\nMade by `cargo xtask generate` from the tables' own declarations; `afterimage tables` prints the \
         same.\nA column marked *may be absent* is `null` in JSON, with the reason under `absent`.\n",
    );
    for table in TABLES {
        let alias = table.alias.map(|alias| format!(" (also `{alias}`)")).unwrap_or_default();
        text += &format!("\n## `{}`{alias}\n\n{}\n\n", table.name, one_line(table.doc));
        for param in table.params {
            text += &format!("- key `{}=`: {}\n", param.name, param.doc);
        }
        if !table.params.is_empty() {
            text.push('\n');
        }
        text += "| column | type | what |\n|---|---|---|\n";
        for column in table.columns {
            let optional = if column.optional { ", may be absent" } else { "" };
            let doc = one_line(column.doc).replace('|', "\\|");
            text += &format!("| `{}` | {}{optional} | {doc} |\n", column.name, column.kind.word());
        }
    }
    text
}
