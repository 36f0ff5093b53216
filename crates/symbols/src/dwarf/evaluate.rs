//! Location expressions, worked out against one frame.
//!
//! Not here: finding the expressions (`variables`), and the values that callers passed (`call_sites`).
//!
//! Example: `DW_OP_fbreg -20` in a function whose frame base is `DW_OP_call_frame_cfa` is memory 20 bytes below the
//! caller's stack pointer; `DW_OP_reg3; DW_OP_piece 8; DW_OP_piece 8` is rbx, and eight bytes that are lost.
//!
//! Trap: `DW_OP_addr` is the module's own address, everything else is run-time; and a register that was not saved is not
//! "optimized out": another dump may have it.

use super::{Dwarf, Slice, Unit, Value};
use crate::variable::{Activation, Callee, Content, Missing, Pieces};
use gimli::{
    Encoding, EndianSlice, EvaluationResult, Expression, Location, Piece, UnitOffset, ValueType, constants as dw,
};

/// An expression that runs longer than this is a loop.
const MAX_OPERATIONS: u32 = 10_000;
/// Entries of one location list.
const MAX_LOCATIONS: usize = 100_000;
/// Bytes of a value that is put together from pieces; what is in memory may be longer.
const MAX_BYTES: u64 = 4096;

/// What expressions of one function are worked out with.
pub(super) struct Evaluator<'e, 'a> {
    pub(super) dwarf: &'e Dwarf<'a>,
    pub(super) unit: &'e Unit<'a>,
    /// The module's own address.
    pub(super) at: u64,
    pub(super) frame: &'e dyn Activation,
    /// DW_AT_frame_base of the function.
    pub(super) frame_base: Option<Value<'a>>,
    pub(super) callee: &'e Callee,
}

fn broken(error: gimli::Error) -> Missing {
    Missing::Malformed(error.to_string())
}

impl<'a> Evaluator<'_, 'a> {
    fn encoding(&self) -> Encoding {
        self.unit.encoding()
    }

    fn is_big(&self) -> bool {
        super::is_big(self.dwarf)
    }

    /// The expression of an attribute that is valid at the address.
    fn expression(&self, value: Value<'a>) -> Result<Expression<Slice<'a>>, Missing> {
        match value {
            Value::Exprloc(expression) => return Ok(expression),
            Value::Block(block) => return Ok(Expression(block)),
            _ => {}
        }
        let list = self.dwarf.attr_locations(self.unit, value).map_err(broken)?;
        let Some(mut list) = list else { return Err(Missing::Unsupported("a form of location".into())) };
        for _ in 0..MAX_LOCATIONS {
            let Some(entry) = list.next().map_err(broken)? else { break };
            if (entry.range.begin..entry.range.end).contains(&self.at) {
                return Ok(entry.data);
            }
        }
        Err(Missing::OptimizedOut)
    }

    /// The value of a location attribute; `size` is that of its type.
    pub(super) fn content(&self, value: Value<'a>, size: Option<u64>) -> Result<Content, Missing> {
        let pieces = self.pieces(self.expression(value)?)?;
        if let [only] = pieces.as_slice()
            && only.size_in_bits.is_none()
        {
            return match only.location {
                Location::Empty => Err(Missing::OptimizedOut),
                Location::Address { address } => Ok(Content::Memory(self.fit(address))),
                Location::ImplicitPointer { value, byte_offset } => Ok(self.behind(value, byte_offset)),
                _ => {
                    let size = size.unwrap_or_else(|| u64::from(self.encoding().address_size)).min(MAX_BYTES);
                    let mut out = Pieces::default();
                    self.append(&mut out, only, size as usize);
                    match out.gaps.first() {
                        Some((0, end, why)) if *end >= out.bytes.len() => Err(why.clone()),
                        _ => Ok(Content::Bytes(out)),
                    }
                }
            };
        }
        let mut out = Pieces::default();
        for piece in &pieces {
            let bits = piece.size_in_bits.unwrap_or(0);
            let left = MAX_BYTES - out.bytes.len() as u64;
            let length = bits.div_ceil(8).min(left) as usize;
            if bits % 8 != 0 {
                lose(&mut out, length, Missing::Unsupported("pieces of bits".into()));
            } else {
                self.append(&mut out, piece, length);
            }
        }
        let lost: usize = out.gaps.iter().map(|(start, end, _)| end - start).sum();
        match out.gaps.first() {
            Some((_, _, why)) if lost >= out.bytes.len() => Err(why.clone()),
            None if out.bytes.is_empty() => Err(Missing::OptimizedOut),
            _ => Ok(Content::Bytes(out)),
        }
    }

    /// A number out of an expression or a location: a frame base, a bound, what a caller passed.
    pub(super) fn number(&self, value: Value<'a>) -> Result<u64, Missing> {
        let expression = self.expression(value)?;
        // Without its mark the last value is an address, which a floating-point number cannot be.
        let marked: Vec<u8> = expression.0.slice().iter().copied().chain([dw::DW_OP_stack_value.0]).collect();
        let endian = gimli::Reader::endian(&expression.0);
        let pieces = match self.pieces(expression) {
            Err(Missing::Malformed(_)) => self.pieces(Expression(EndianSlice::new(&marked, endian)))?,
            pieces => pieces?,
        };
        match pieces.as_slice() {
            [piece] => match piece.location {
                Location::Address { address } => Ok(self.fit(address)),
                Location::Register { register } => self.register(register.0),
                Location::Value { value } => bits_of(value),
                _ => Err(Missing::Unsupported("a value in pieces".into())),
            },
            _ => Err(Missing::OptimizedOut),
        }
    }

    fn append(&self, out: &mut Pieces, piece: &Piece<Slice<'a>>, length: usize) {
        let bytes = match piece.location {
            Location::Empty => Err(Missing::OptimizedOut),
            Location::Register { register } => self.register(register.0).and_then(|value| {
                let shift = u32::try_from(piece.bit_offset.unwrap_or(0)).unwrap_or(u32::MAX);
                let value = value.checked_shr(shift).unwrap_or(0);
                // Vector registers are wider; what lies above is not known.
                if length > 8 {
                    Err(Missing::NotSaved { register: register.0 })
                } else {
                    Ok(self.low_bytes(value, length))
                }
            }),
            Location::Address { address } => self.memory(self.fit(address), length),
            Location::Value { value } => bits_of(value).map(|bits| self.low_bytes(bits, length)),
            Location::Bytes { value } => Ok(value.slice().iter().copied().take(length).collect()),
            Location::ImplicitPointer { .. } => {
                Err(Missing::Unsupported("a pointer to something that is in no memory".into()))
            }
        };
        match bytes {
            Ok(bytes) => {
                let short = length.saturating_sub(bytes.len());
                out.bytes.extend(bytes);
                lose(out, short, Missing::OptimizedOut);
            }
            Err(why) => lose(out, length, why),
        }
    }

    /// The low bytes of a number, in the target's order; no more than eight.
    pub(super) fn low_bytes(&self, value: u64, length: usize) -> Vec<u8> {
        if self.is_big() {
            value.to_be_bytes().into_iter().skip(8usize.saturating_sub(length)).collect()
        } else {
            value.to_le_bytes().into_iter().take(length).collect()
        }
    }

    fn memory(&self, address: u64, length: usize) -> Result<Vec<u8>, Missing> {
        let mut out = Vec::with_capacity(length);
        while out.len() < length {
            let step = (length - out.len()).min(8);
            // The machine reads numbers of one, two, four and eight bytes.
            let step = 1usize << step.ilog2();
            let from = address.wrapping_add(out.len() as u64);
            let value = self.frame.read(from, step).ok_or(Missing::NotInDump { address: from })?;
            out.extend(self.low_bytes(value, step));
        }
        Ok(out)
    }

    fn register(&self, register: u16) -> Result<u64, Missing> {
        self.frame.register(register).ok_or(Missing::NotSaved { register })
    }

    /// Addresses of 32-bit programs wrap at 32 bits.
    fn fit(&self, address: u64) -> u64 {
        if self.encoding().address_size == 4 { address & 0xffff_ffff } else { address }
    }

    fn frame_base(&self) -> Result<u64, Missing> {
        let base = self.frame_base.ok_or(Missing::NoFrameAddress)?;
        // A frame base that counts from itself would never end.
        let inner = Evaluator { frame_base: None, ..*self };
        inner.number(base)
    }

    fn pieces<'x>(&self, expression: Expression<Slice<'x>>) -> Result<Vec<Piece<Slice<'x>>>, Missing> {
        if expression.0.is_empty() {
            return Err(Missing::OptimizedOut);
        }
        let mut evaluation = expression.evaluation(self.encoding());
        evaluation.set_max_iterations(MAX_OPERATIONS);
        let mut result = evaluation.evaluate().map_err(broken)?;
        // Every turn runs at least one operation, and those are counted.
        loop {
            let resumed = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresMemory { address, size, base_type, .. } => {
                    let address = self.fit(address);
                    let value = self.frame.read(address, usize::from(size)).ok_or(Missing::NotInDump { address })?;
                    evaluation.resume_with_memory(self.typed(base_type, value)?)
                }
                EvaluationResult::RequiresRegister { register, base_type } => {
                    evaluation.resume_with_register(self.typed(base_type, self.register(register.0)?)?)
                }
                EvaluationResult::RequiresFrameBase => evaluation.resume_with_frame_base(self.frame_base()?),
                EvaluationResult::RequiresCallFrameCfa => {
                    evaluation.resume_with_call_frame_cfa(self.frame.cfa().ok_or(Missing::NoFrameAddress)?)
                }
                EvaluationResult::RequiresRelocatedAddress(address) => {
                    evaluation.resume_with_relocated_address(self.fit(address.wrapping_add(self.frame.bias())))
                }
                EvaluationResult::RequiresIndexedAddress { index, relocate } => {
                    let address = self.dwarf.address(self.unit, index).map_err(broken)?;
                    let bias = if relocate { self.frame.bias() } else { 0 };
                    evaluation.resume_with_indexed_address(self.fit(address.wrapping_add(bias)))
                }
                EvaluationResult::RequiresEntryValue(expression) => {
                    evaluation.resume_with_entry_value(self.entry_value(expression)?)
                }
                EvaluationResult::RequiresBaseType(die) => {
                    evaluation.resume_with_base_type(self.base_type(die).unwrap_or(ValueType::Generic))
                }
                EvaluationResult::RequiresTls(_) => return Err(Missing::ThreadLocal),
                // What a caller passed in a place that only itself knows.
                EvaluationResult::RequiresParameterRef(_) => return Err(Missing::OptimizedOut),
                other => {
                    let text = format!("{other:?}");
                    let name = text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
                    return Err(Missing::Unsupported(name));
                }
            };
            result = resumed.map_err(broken)?;
        }
        Ok(evaluation.as_result().to_vec())
    }

    /// What a register held when the function began. Its own call has changed it, so only the caller can tell.
    fn entry_value(&self, expression: Expression<Slice<'_>>) -> Result<gimli::Value, Missing> {
        let mut operations = expression.operations(self.encoding());
        let (register, base_type) = match operations.next() {
            Ok(Some(gimli::Operation::Register { register })) => (register, UnitOffset(0)),
            Ok(Some(gimli::Operation::RegisterOffset { register, offset: 0, base_type })) => (register, base_type),
            _ => return Err(Missing::OptimizedOut),
        };
        let value = self.frame.entry_value(register.0, self.callee).ok_or(Missing::OptimizedOut)?;
        self.typed(base_type, value)
    }

    /// A number as a value of the type that stands at `base_type`.
    fn typed(&self, base_type: UnitOffset, raw: u64) -> Result<gimli::Value, Missing> {
        if base_type.0 == 0 {
            return Ok(gimli::Value::Generic(raw));
        }
        let Some(kind) = self.base_type(base_type) else { return Ok(gimli::Value::Generic(raw)) };
        let bytes = raw.to_le_bytes();
        gimli::Value::parse(kind, EndianSlice::new(&bytes, gimli::LittleEndian)).map_err(broken)
    }

    fn base_type(&self, die: UnitOffset) -> Option<ValueType> {
        let mut raw = self.unit.entries_raw(Some(die)).ok()?;
        let abbreviation = raw.read_abbreviation().ok()??;
        let entry = super::entries::attributes(&mut raw, abbreviation)?;
        let Some(Value::Encoding(encoding)) = entry.get(dw::DW_AT_encoding) else { return None };
        ValueType::from_encoding(encoding, entry.number(dw::DW_AT_byte_size)?)
    }

    /// What an implicit pointer leads to: a variable, or a text without a name, that is in no memory.
    fn behind(&self, place: gimli::DebugInfoOffset, offset: i64) -> Content {
        let entry = || {
            let start = self.unit.header.debug_info_offset()?.0;
            let die = UnitOffset(place.0.checked_sub(start)?);
            let mut raw = self.unit.entries_raw(Some(die)).ok()?;
            let abbreviation = raw.read_abbreviation().ok()??;
            super::entries::attributes(&mut raw, abbreviation)
        };
        let Some(entry) = entry() else { return Content::ImplicitPointer { name: None, bytes: None } };
        let name = entry.get(dw::DW_AT_name).and_then(|name| self.dwarf.attr_string(self.unit, name).ok());
        let name = name.map(|name| name.to_string_lossy().into_owned());
        let bytes = || {
            // Only bytes that stand in the expression itself: another pointer of this kind might lead back.
            let expression = self.expression(entry.get(dw::DW_AT_location)?).ok()?;
            let mut operations = expression.operations(self.encoding());
            let Ok(Some(gimli::Operation::ImplicitValue { data })) = operations.next() else { return None };
            data.slice().get(usize::try_from(offset).ok()?..).map(<[u8]>::to_vec)
        };
        Content::ImplicitPointer { name, bytes: bytes() }
    }
}

/// Bits of a value as they would stand in a register.
fn bits_of(value: gimli::Value) -> Result<u64, Missing> {
    match value {
        gimli::Value::F32(number) => Ok(number.to_bits().into()),
        gimli::Value::F64(number) => Ok(number.to_bits()),
        other => other.to_u64(u64::MAX).map_err(broken),
    }
}

fn lose(out: &mut Pieces, length: usize, why: Missing) {
    if length > 0 {
        let start = out.bytes.len();
        out.bytes.resize(start + length, 0);
        out.gaps.push((start, start + length, why));
    }
}
