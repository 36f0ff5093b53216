//! Standard output and error, buffered, with colours only where they belong.

use anstream::adapter::StripBytes;
use anstream::{AutoStream, ColorChoice};
use std::io::{self, BufWriter, Write};

/// Standard output. What is written must be flushed at the end.
pub fn stdout() -> Box<dyn Write> {
    let plain = AutoStream::choice(&io::stdout()) == ColorChoice::Never;
    buffered(io::stdout(), plain)
}

/// Standard error, for whole reports.
pub fn stderr() -> Box<dyn Write> {
    let plain = AutoStream::choice(&io::stderr()) == ColorChoice::Never;
    buffered(io::stderr(), plain)
}

fn buffered(stream: impl Write + 'static, plain: bool) -> Box<dyn Write> {
    let buffer = BufWriter::with_capacity(64 << 10, stream);
    if plain { Box::new(Plain { strip: StripBytes::new(), buffer }) } else { Box::new(buffer) }
}

/// Takes colours out before the buffer, so that one buffer is one write.
struct Plain<W: Write> {
    strip: StripBytes,
    buffer: W,
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in self.strip.strip_next(bytes) {
            self.buffer.write_all(part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.buffer.flush()
    }
}
