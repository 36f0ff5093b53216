//! The five decoders behind one `Read`, each reading concatenated streams as one.

use super::Compression;
use crate::source::SharedSource;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest window of a zstd frame that is accepted, as a power of two: 128 MiB, what the `zstd` program takes by default.
pub(super) const ZSTD_WINDOW_LOG: u32 = 27;
/// Most memory that an xz decoder may take: presets up to `-9` need 65 MiB.
const XZ_MEMORY: u64 = 192 << 20;

/// A source read from the front, which says how far it has come.
#[derive(Clone)]
pub(super) struct Counter {
    source: SharedSource,
    position: Arc<AtomicU64>,
}

impl Counter {
    pub(super) fn new(source: SharedSource) -> Self {
        Self { source, position: Arc::default() }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }
}

impl Read for Counter {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.source.read_at(self.position(), buf)?;
        self.position.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

type Input = BufReader<Counter>;

/// A decoder of any kind.
pub(super) enum Decoder {
    Zstd(Box<zstd::stream::read::Decoder<'static, Input>>),
    /// `None` between two frames whose end could not be told from the end of the file.
    Lz4(Option<Box<lz4_flex::frame::FrameDecoder<Input>>>),
    Xz(Box<liblzma::bufread::XzDecoder<Input>>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Input>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<Input>>),
}

impl Decoder {
    pub(super) fn new(compression: Compression, counter: Counter) -> io::Result<Self> {
        let input = BufReader::with_capacity(256 << 10, counter);
        Ok(match compression {
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
            Compression::Lz4 => Self::Lz4(Some(Box::new(lz4_flex::frame::FrameDecoder::new(input)))),
            Compression::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Self::Xz(Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream)))
            }
            Compression::Gzip => Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
            Compression::Bzip2 => Self::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(input))),
        })
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Zstd(decoder) => decoder.read(buf),
            Self::Xz(decoder) => decoder.read(buf),
            Self::Gzip(decoder) => decoder.read(buf),
            Self::Bzip2(decoder) => decoder.read(buf),
            Self::Lz4(place) => read_lz4(place, buf),
        }
    }
}

/// The crate's decoder ends with its frame; further frames may follow in the file.
fn read_lz4(place: &mut Option<Box<lz4_flex::frame::FrameDecoder<Input>>>, buf: &mut [u8]) -> io::Result<usize> {
    while let Some(decoder) = place {
        let got = decoder.read(buf)?;
        if got > 0 {
            return Ok(got);
        }
        let Some(ended) = place.take() else {
            break;
        };
        let mut input = ended.into_inner();
        if !input.fill_buf()?.is_empty() {
            *place = Some(Box::new(lz4_flex::frame::FrameDecoder::new(input)));
        }
    }
    Ok(0)
}

/// The library's words for what is wrong, in the style of the messages here.
pub(super) fn words(error: &io::Error) -> String {
    let words = error.to_string();
    let mut letters = words.trim_end_matches('.').chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}
