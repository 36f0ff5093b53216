//! A pen that writes numbers of either byte order into a growing byte string, and can go back to fill in a blank.
//!
//! ```
//! use afterimage_testkit::build_core::pen::Pen;
//! let mut pen = Pen::little();
//! let blank = pen.blank_u32();
//! pen.bytes(b"text");
//! pen.fill_u32(blank, 7);
//! assert_eq!(pen.into_bytes(), b"\x07\0\0\0text");
//! ```
//!
//! *Trap*: numbers wider than their field are cut to it. That is wanted: hostile files put `u64::MAX` everywhere.

/// Byte order of the file that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// Growing bytes with a byte order.
#[derive(Clone, Debug)]
pub struct Pen {
    bytes: Vec<u8>,
    order: ByteOrder,
}

/// A field left blank, to be filled in when its value is known.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Blank(usize);

impl Pen {
    /// An empty pen of a byte order.
    #[must_use]
    pub fn new(order: ByteOrder) -> Self {
        Self { bytes: Vec::new(), order }
    }

    /// An empty little-endian pen.
    #[must_use]
    pub fn little() -> Self {
        Self::new(ByteOrder::Little)
    }

    /// Bytes written so far, which is also the offset of the next one.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The position cut to 32 bits, as a minidump's RVA.
    #[must_use]
    pub fn rva(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Writes zero bytes.
    pub fn zeros(&mut self, count: usize) -> &mut Self {
        self.bytes.resize(self.bytes.len().saturating_add(count), 0);
        self
    }

    /// Writes the low `width` bytes of a number.
    pub fn number(&mut self, value: u64, width: usize) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend(value.to_le_bytes().iter().chain(std::iter::repeat(&0)).take(width));
        if self.order == ByteOrder::Big
            && let Some(field) = self.bytes.get_mut(start..)
        {
            field.reverse();
        }
        self
    }

    /// Writes one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.number(u64::from(value), 1)
    }

    /// Writes two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.number(u64::from(value), 2)
    }

    /// Writes four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.number(u64::from(value), 4)
    }

    /// Writes a signed number of four bytes.
    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.u32(value as u32)
    }

    /// Writes eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.number(value, 8)
    }

    /// Writes bytes into a field of `width`: cut if longer, filled up with zeros if shorter.
    pub fn field(&mut self, bytes: &[u8], width: usize) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend(bytes.iter().take(width));
        self.bytes.resize(start.saturating_add(width), 0);
        self
    }

    /// Writes zeros up to the next multiple of `step`.
    pub fn align(&mut self, step: usize) -> &mut Self {
        let length = self.bytes.len().next_multiple_of(step.max(1));
        self.bytes.resize(length, 0);
        self
    }

    /// Writes zeros up to an offset; does nothing if it has been passed.
    pub fn up_to(&mut self, offset: usize) -> &mut Self {
        if self.bytes.len() < offset {
            self.bytes.resize(offset, 0);
        }
        self
    }

    /// Leaves a field of four bytes blank.
    pub fn blank_u32(&mut self) -> Blank {
        let place = Blank(self.bytes.len());
        self.u32(0);
        place
    }

    /// Leaves a field of eight bytes blank.
    pub fn blank_u64(&mut self) -> Blank {
        let place = Blank(self.bytes.len());
        self.u64(0);
        place
    }

    /// Fills in a blank of four bytes.
    pub fn fill_u32(&mut self, place: Blank, value: u32) {
        self.overwrite(place.0, u64::from(value), 4);
    }

    /// Fills in a blank of eight bytes.
    pub fn fill_u64(&mut self, place: Blank, value: u64) {
        self.overwrite(place.0, value, 8);
    }

    /// Writes a number over bytes that stand already.
    ///
    /// # Panics
    /// If the place lies outside what has been written: a mistake in the builder's user.
    pub fn overwrite(&mut self, offset: usize, value: u64, width: usize) {
        let mut number = Self::new(self.order);
        number.number(value, width);
        let place = self.bytes.get_mut(offset..offset.saturating_add(width));
        assert!(place.is_some(), "nothing has been written at {offset:#x} yet");
        if let Some(place) = place {
            place.copy_from_slice(&number.bytes);
        }
    }

    /// What has been written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
