//! Windows crash dumps.

mod stop;

pub use stop::Stop;
