//! The variables under a frame of the report (`--locals`): names, values, and at the end of the line the type.

use super::text::{fitted, room, wrapped};
use crate::args::Common;
use crate::output::clean;
use crate::output::style::{DIM, paint};
use afterimage_tables::rows::variables::of_level;
use afterimage_target::{FrameVariables, Target, VariableValue};
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// Variables of one function that are shown without `--verbose`.
const SHOWN: usize = 24;
/// Columns before a variable.
const INDENT: usize = 9;
/// Columns of a name that others are aligned to.
const NAME: usize = 16;
/// Columns of a line that goes to no terminal.
const WIDTH: usize = 78;

/// The variables of the frames of one thread, frame by frame.
pub struct Locals<'t> {
    target: &'t Target,
    thread: usize,
    /// The frame that exists at the last row that was asked for: its first row, its index, its functions.
    at: (usize, usize, usize),
    known: Option<(usize, FrameVariables)>,
    /// Whether there were variables, and why not.
    any: bool,
    why: Option<String>,
}

impl<'t> Locals<'t> {
    pub fn new(target: &'t Target, thread: usize) -> Self {
        Locals { target, thread, at: (0, 0, 0), known: None, any: false, why: None }
    }

    /// Writes what belongs to a row of `frames`; rows are asked for in their order.
    pub fn under(&mut self, row: usize, common: &Common, out: &mut dyn Write) -> io::Result<()> {
        let stack = self.target.stack(self.thread);
        let (mut first, mut index, mut levels) = self.at;
        while row >= first + levels {
            if levels > 0 {
                index += 1;
            }
            let Some(frame) = stack.frames.get(index) else { return Ok(()) };
            first += levels;
            first += stack.omitted.filter(|omitted| omitted.at == index).map_or(0, |omitted| omitted.frames as usize);
            levels = self.target.locate(frame.address).len().max(1);
        }
        self.at = (first, index, levels);
        if self.known.as_ref().is_none_or(|(own, _)| *own != index) {
            let found = self.target.variables(self.thread, index);
            match &found {
                Ok(found) => self.any |= !found.is_empty(),
                Err(why) => {
                    self.why.get_or_insert_with(|| why.clone());
                }
            }
            self.known = Some((index, found));
        }
        match &self.known {
            Some((_, Ok(found))) => write(&of_level(found, row.saturating_sub(first), levels), common, out),
            // Frames of libraries without debug information say so by having no line.
            _ => Ok(()),
        }
    }
}

impl Locals<'_> {
    /// Says why there were none, if no frame had any.
    pub fn end(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.any {
            return Ok(());
        }
        let why = self.why.as_deref().unwrap_or("the debug information has none");
        writeln!(out, "  {}", paint(DIM, &wrapped(&format!("no variables are known: {}", clean(why)), 2)))
    }
}

/// Writes variables, and behind them those that have no value, by their reasons.
pub fn write(variables: &[&VariableValue], common: &Common, out: &mut dyn Write) -> io::Result<()> {
    let most = if common.verbose { usize::MAX } else { SHOWN };
    let room = if common.verbose { None } else { Some(room(common).unwrap_or(WIDTH).saturating_sub(INDENT - 2)) };
    let known: Vec<_> = variables.iter().filter_map(|own| Some((own, own.value.as_ref().ok()?))).collect();
    let width =
        known.iter().take(most).map(|(own, _)| own.name.width()).filter(|width| *width <= NAME).max().unwrap_or(0);
    let indent = " ".repeat(INDENT);
    for (own, value) in known.iter().take(most) {
        let name = clean(&own.name);
        let pad = " ".repeat(width.saturating_sub(name.width()));
        let line = format!("{name}{pad} = {}  ", clean(value));
        writeln!(out, "{indent}{}", fitted(&line, &clean(&own.type_name), room))?;
    }
    if known.len() > most {
        writeln!(out, "{indent}{}", paint(DIM, &format!("and {} more (--verbose shows all)", known.len() - most)))?;
    }
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for own in variables {
        let Err(why) = &own.value else { continue };
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, names)) => names.push(clean(&own.name)),
            None => reasons.push((why, vec![clean(&own.name)])),
        }
    }
    for (why, names) in reasons {
        let text = wrapped(&format!("{}: {}", clean(why), names.join(", ")), INDENT + 2);
        writeln!(out, "{indent}{}", paint(DIM, &text))?;
    }
    Ok(())
}
