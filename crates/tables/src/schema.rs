//! The JSON schema of every table's rows, made from the tables' own columns.

use crate::cell::ColumnType;
use crate::table::{Column, TABLES, Table};
use serde_json::{Map, Value, json};

/// The JSON schema (draft 2020-12) of the JSON lines that every table gives; one definition a table.
#[must_use]
pub fn json_schema() -> Value {
    let definitions: Map<String, Value> =
        TABLES.iter().map(|table| (table.name.to_owned(), row_schema(table))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rows of afterimage's tables, one JSON object a line",
        "$defs": definitions,
    })
}

fn row_schema(table: &Table) -> Value {
    let mut properties: Map<String, Value> =
        table.columns.iter().map(|column| (column.name.to_owned(), column_schema(column))).collect();
    properties.insert(
        "absent".to_owned(),
        json!({
            "description": "for each column whose value is null: why",
            "type": "object",
            "additionalProperties": { "type": "string" },
        }),
    );
    let required: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    json!({
        "description": table.doc.trim(),
        "type": "object",
        "properties": properties,
        "required": required,
    })
}

fn column_schema(column: &Column) -> Value {
    let mut schema = match column.kind {
        ColumnType::Unsigned => json!({ "type": "integer", "minimum": 0 }),
        ColumnType::Signed => json!({ "type": "integer" }),
        ColumnType::Address => json!({ "type": "string", "pattern": "^0x[0-9a-f]+$" }),
        ColumnType::Text => json!({ "type": "string" }),
        ColumnType::Bool => json!({ "type": "boolean" }),
        ColumnType::Time => json!({ "type": "string", "format": "date-time" }),
        ColumnType::Bytes => json!({ "type": "string", "pattern": "^([0-9a-f]{2})*$" }),
    };
    if let Some(fields) = schema.as_object_mut() {
        if column.optional
            && let Some(kind) = fields.remove("type")
        {
            fields.insert("type".to_owned(), json!([kind, "null"]));
        }
        fields.insert("description".to_owned(), json!(column.doc.trim()));
    }
    schema
}
