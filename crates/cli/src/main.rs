//! `afterimage`: the whole life of a memory dump in one program.
//!
//! This file reads as an outline: parse, dispatch, exit status. Verbs live in [`commands`], shapes of output in
//! [`output`], and the crash report in [`report`].

mod args;
mod commands;
mod demo_sample;
mod failure;
mod open;
mod output;
mod report;
mod values;

use args::{Arguments, Verb};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.common.color.apply();
    match dispatch(&arguments) {
        Ok(status) => ExitCode::from(status),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            anstream::eprintln!("{}{failure}", output::style::prefix());
            ExitCode::from(failure.status)
        }
    }
}

/// Runs the verb and gives the exit status.
fn dispatch(arguments: &Arguments) -> Result<u8, Failure> {
    let common = &arguments.common;
    match &arguments.verb {
        Verb::Demo(demo) => commands::demo::demo(demo, common),
        Verb::Run(run) => commands::run::run(run, common),
        Verb::Capture(capture) => commands::capture::capture(capture, common),
        Verb::Watch(watch) => commands::watch::watch(watch, common),
        Verb::Info(one) => commands::info::info(&one.dump, common),
        Verb::Explain(explain) => commands::explain::explain(&explain.dump, explain.locals, common),
        Verb::Show(show) => commands::show::show(show, common),
        Verb::Tables(tables) => commands::tables::tables(tables, common),
        Verb::Convert(convert) => commands::convert::convert(convert, common),
        Verb::Extract(extract) => commands::extract::extract(extract, common),
        Verb::Completions { shell } => commands::generated::completions(*shell),
        Verb::Man { folder } => commands::generated::man(folder.as_deref()),
    }
}
