//! Every dependency must be under a licence of the list in `deny.toml`, and come from the registry.
//!
//! It works offline. Where `cargo deny` is installed, its bans and sources are checked, too; its advisories need the
//! network and are left to those who have it.

use crate::tools::{has, root, run, stdout_of};
use anyhow::{Context, bail};
use std::process::Command;

/// Checks all dependencies.
pub fn licences(_arguments: &[String]) -> anyhow::Result<()> {
    let allowed = allowed()?;
    let mut metadata = Command::new("cargo");
    metadata.args(["metadata", "--format-version", "1", "--locked"]).current_dir(root());
    let metadata: serde_json::Value = serde_json::from_slice(&stdout_of(&mut metadata)?)?;
    let packages =
        metadata.get("packages").and_then(|list| list.as_array()).context("cargo metadata lists no packages")?;
    let mut wrong = Vec::new();
    for package in packages {
        let field = |name: &str| package.get(name).and_then(|value| value.as_str());
        let name = field("name").unwrap_or("?");
        let licence = field("license").unwrap_or("none stated");
        if !acceptable(licence, &allowed) {
            wrong.push(format!("{name}: {licence}"));
        }
        if let Some(source) = field("source").filter(|source| !source.starts_with("registry+")) {
            wrong.push(format!("{name}: from {source}"));
        }
    }
    if !wrong.is_empty() {
        bail!("dependencies that may not be linked:\n  {}", wrong.join("\n  "));
    }
    println!("licences: {} packages, all under a licence of deny.toml", packages.len());
    if has("cargo-deny") {
        run("cargo", ["deny", "--offline", "check", "licenses", "bans", "sources"])?;
    }
    Ok(())
}

/// The list in `deny.toml`: the quoted words between `allow = [` and `]`.
fn allowed() -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join("deny.toml")).context("read deny.toml")?;
    let (_, list) = text.split_once("allow = [").context("deny.toml has no list of licences")?;
    let (list, _) = list.split_once(']').context("the list of licences in deny.toml has no end")?;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Whether an SPDX expression can be met: any side of OR, all sides of AND.
fn acceptable(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.trim();
    if allowed.iter().any(|licence| licence == expression) {
        return true;
    }
    if let Some(sides) = split(expression, " OR ").or_else(|| split(expression, "/")) {
        return sides.iter().any(|side| acceptable(side, allowed));
    }
    if let Some(sides) = split(expression, " AND ") {
        return sides.iter().all(|side| acceptable(side, allowed));
    }
    match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => acceptable(inner, allowed),
        None => false,
    }
}

/// Splits at an operator that stands outside brackets; `None` if there is none.
fn split<'a>(expression: &'a str, operator: &str) -> Option<Vec<&'a str>> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, letter) in expression.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 && at >= start && expression.get(at..).is_some_and(|rest| rest.starts_with(operator)) {
            parts.push(expression.get(start..at)?);
            start = at + operator.len();
        }
    }
    parts.push(expression.get(start..)?);
    (parts.len() > 1).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed = ["MIT".to_owned(), "NCSA".to_owned()];
        assert!(acceptable("MIT OR GPL-3.0", &allowed));
        assert!(acceptable("(MIT OR Apache-2.0) AND NCSA", &allowed));
        assert!(acceptable("MIT/Apache-2.0", &allowed));
        assert!(!acceptable("GPL-3.0", &allowed));
        assert!(!acceptable("MIT AND GPL-3.0", &allowed));
        assert!(!acceptable("(MIT AND LGPL-2.1) OR GPL-2.0", &allowed));
    }
}
