//! `completions` and `man`: made from the same declaration as the help.

use crate::args::Arguments;
use crate::failure::Failure;
use clap::CommandFactory;
use std::io::{self, Write};
use std::path::Path;

pub fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "afterimage", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(0)
}

pub fn man(folder: Option<&Path>) -> Result<u8, Failure> {
    // `man show` is asked for as `git help log` is: the page of a verb, unless there is a folder of that name.
    let command = Arguments::command();
    let verb = folder.and_then(|folder| command.find_subcommand(folder)).filter(|_| !folder.is_some_and(Path::is_dir));
    if let Some(verb) = verb {
        let mut page = Vec::new();
        clap_mangen::Man::new(verb.clone()).title(format!("afterimage-{}", verb.get_name())).render(&mut page)?;
        io::stdout().lock().write_all(&page)?;
        return Ok(0);
    }
    match folder {
        Some(folder) => clap_mangen::generate_to(Arguments::command(), folder)
            .map_err(|error| Failure::new(crate::failure::OUTPUT, format!("write {}: {error}", folder.display())))?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
            io::stdout().lock().write_all(&page)?;
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
