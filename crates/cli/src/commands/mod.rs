//! One file a verb.

pub mod capture;
pub mod convert;
pub mod demo;
pub mod explain;
pub mod extract;
pub mod generated;
pub mod info;
mod nearest;
pub mod run;
pub mod show;
pub mod tables;
pub mod watch;
