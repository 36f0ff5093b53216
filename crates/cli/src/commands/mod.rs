//! One file a verb.

pub mod capture;
pub mod convert;
pub mod demo;
pub mod explain;
pub mod generated;
pub mod info;
pub mod run;
pub mod show;
pub mod tables;
pub mod watch;
