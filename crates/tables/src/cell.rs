//! What can stand in a cell: a typed value, or the reason why there is none.

use std::borrow::Cow;

/// Why a cell has no value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Absent(pub Cow<'static, str>);

impl Absent {
    /// An absence with its reason: lower case, no full stop.
    pub fn because(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

/// A value, or why it is missing.
pub type Field<T> = Result<T, Absent>;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// A whole number from 0.
    Unsigned,
    /// A whole number.
    Signed,
    /// An address: a hex string in JSON, so that no reader rounds it.
    Address,
    /// Text.
    Text,
    /// True or false.
    Bool,
    /// Seconds since 1970 (UTC); RFC 3339 in text and JSON.
    Time,
    /// Raw bytes; hex digits in text and JSON.
    Bytes,
}

impl ColumnType {
    /// The word for manuals.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Signed => "signed",
            Self::Address => "address",
            Self::Text => "text",
            Self::Bool => "bool",
            Self::Time => "time",
            Self::Bytes => "bytes",
        }
    }
}

/// A typed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A whole number from 0.
    Unsigned(u64),
    /// A whole number.
    Signed(i64),
    /// An address.
    Address(u64),
    /// Text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// Seconds since 1970 (UTC).
    Time(i64),
    /// Raw bytes.
    Bytes(Vec<u8>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsigned(n) => write!(f, "{n}"),
            Self::Signed(n) => write!(f, "{n}"),
            Self::Address(at) => write!(f, "{at:#x}"),
            Self::Text(text) => f.write_str(text),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Time(seconds) => f.write_str(&rfc3339(*seconds)),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// A cell of any column.
pub type Cell = Field<Value>;

/// An address in a row struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addr(pub u64);

/// A time in a row struct: seconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub i64);

/// Raw bytes in a row struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

/// A Rust type that a column can have.
pub trait CellType {
    /// The column's type.
    const TYPE: ColumnType;
    /// Whether a value can be missing.
    const OPTIONAL: bool = false;
    /// The cell.
    fn cell(self) -> Cell;
}

macro_rules! cell_types {
    ($($rust:ty => $kind:ident: $make:expr;)*) => {$(
        impl CellType for $rust {
            const TYPE: ColumnType = ColumnType::$kind;
            fn cell(self) -> Cell {
                let make: fn($rust) -> Value = $make;
                Ok(make(self))
            }
        }
    )*};
}

cell_types! {
    u64 => Unsigned: Value::Unsigned;
    u32 => Unsigned: |n| Value::Unsigned(n.into());
    usize => Unsigned: |n| Value::Unsigned(n as u64);
    i64 => Signed: Value::Signed;
    i32 => Signed: |n| Value::Signed(n.into());
    String => Text: Value::Text;
    &'static str => Text: |text| Value::Text(text.to_owned());
    bool => Bool: Value::Bool;
    Addr => Address: |at| Value::Address(at.0);
    Time => Time: |time| Value::Time(time.0);
    HexBytes => Bytes: |bytes| Value::Bytes(bytes.0);
}

impl<T: CellType> CellType for Field<T> {
    const TYPE: ColumnType = T::TYPE;
    const OPTIONAL: bool = true;
    fn cell(self) -> Cell {
        self.and_then(CellType::cell)
    }
}

/// Seconds since 1970 as `2026-11-22T20:30:00Z`.
fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a civil date, counting years from March so that the leap day comes last.
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_date_writes_them() {
        // Expected texts are from `date -u -d @N +%FT%TZ`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_379_696, "2026-11-22T20:34:56Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
        rfc3339(i64::MAX);
        rfc3339(i64::MIN);
    }
}
