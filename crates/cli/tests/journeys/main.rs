//! The program from outside, as its users call it: one binary, so that it is linked once.

mod crashers;
mod output;
mod tool;
