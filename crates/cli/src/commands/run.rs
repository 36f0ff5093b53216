//! `run`: a program under watch. Healthy, it is not disturbed; dying of a signal, it is captured and explained.

use crate::args::{Common, Run};
use crate::failure::Failure;

pub fn run(_arguments: &Run, _common: &Common) -> Result<u8, Failure> {
    Err(Failure::new(crate::failure::USAGE, "run: being built"))
}
