//! The few colours, each with one meaning. Written through `anstream`, which drops them where they do not belong.

use anstyle::{AnsiColor, Style};

/// What is wrong.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// A heading.
pub const HEADING: Style = Style::new().bold();
/// A function's name.
pub const FUNCTION: Style = AnsiColor::Yellow.on_default();
/// A place in a source file.
pub const PLACE: Style = AnsiColor::Green.on_default();
/// What matters less: addresses, reasons.
pub const DIM: Style = Style::new().dimmed();
/// A command to repeat.
pub const COMMAND: Style = AnsiColor::Cyan.on_default();

/// Text in a style.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// What every message to people starts with.
pub fn prefix() -> String {
    format!("{}: ", paint(ERROR, "afterimage"))
}
