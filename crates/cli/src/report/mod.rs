//! The crash report: the rows of several tables put together for a person (`text`) or a program (`json`).

pub mod json;
mod locals;
mod machine;
mod overview;
mod source;
mod stack;
mod stop;
pub mod text;
