//! JSON as broken reports have it: cut off, with placeholders, nested without end. What can be read is read.
//!
//! *What it is not*: a validator. It never fails; [`Parsed::cut`] and [`Parsed::damaged`] say what was wrong.
//!
//! *Example*: `{"pid": 7, "threads": [{"id": 1}, {"i` gives `pid` and one whole thread, and `cut`.
//!
//! *Trap*: addresses of the kernel do not fit an `i64` nor, exactly, a double. Numbers are kept as `i128`.

use crate::Budget;

/// Objects and lists that lie in each other; real reports have eight.
const MAX_DEPTH: usize = 64;
/// What one value costs in memory, booked from the budget.
const VALUE_COST: u64 = 96;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// What came of a text.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) value: Value,
    /// The text ended too early.
    pub(crate) cut: bool,
    /// Something in it was no JSON, too deep, or too much.
    pub(crate) damaged: bool,
    /// Bytes that were read.
    pub(crate) used: usize,
}

impl Value {
    /// The member of a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Map(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The member of a member of a map.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |value, name| value.get(name))
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text that is not empty, or a number as text.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            Value::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> &[Value] {
        match self {
            Value::List(values) => values,
            _ => &[],
        }
    }

    pub(crate) fn members(&self) -> &[(String, Value)] {
        match self {
            Value::Map(members) => members,
            _ => &[],
        }
    }

    /// A number that fits 64 bits; negative ones as two's complement (`-1` is written for all ones).
    pub(crate) fn u64(&self) -> Option<u64> {
        match self {
            Value::Int(number) => {
                u64::try_from(*number).ok().or_else(|| i64::try_from(*number).ok().map(|signed| signed as u64))
            }
            Value::Text(text) => super::words::number(text),
            _ => None,
        }
    }

    pub(crate) fn u32(&self) -> Option<u32> {
        self.u64().and_then(|number| u32::try_from(number).ok())
    }

    pub(crate) fn is_true(&self) -> bool {
        matches!(self, Value::Bool(true))
    }
}

/// Reads one value from the start of a text.
pub(crate) fn parse(text: &str, budget: &Budget) -> Parsed {
    let mut reader = Reader { bytes: text.as_bytes(), text, at: 0, cut: false, damaged: false, full: false, budget };
    let value = reader.value(0);
    Parsed { value, cut: reader.cut, damaged: reader.damaged, used: reader.at.min(text.len()) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    cut: bool,
    damaged: bool,
    /// The budget is used up: nothing more is kept.
    full: bool,
    budget: &'a Budget,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        self.blanks();
        if !self.full && self.budget.take(VALUE_COST).is_err() {
            self.full = true;
        }
        if self.full {
            // The rest is not looked at: everybody above sees the end.
            self.damaged = true;
            self.at = self.bytes.len();
            return Value::Null;
        }
        match self.peek() {
            None => {
                self.cut = true;
                Value::Null
            }
            Some(b'"') => Value::Text(self.string()),
            Some(b'{' | b'[') if depth >= MAX_DEPTH => {
                self.damaged = true;
                self.skip_nested();
                Value::Null
            }
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(_) => self.word(),
        }
    }

    /// Passes over something that lies too deep, without a call for each level.
    fn skip_nested(&mut self) {
        let mut open = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.pass_string();
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return;
            }
        }
        self.cut = true;
    }

    fn pass_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }

    fn map(&mut self, depth: usize) -> Value {
        self.at += 1;
        let mut members: Vec<(String, Value)> = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                None => {
                    self.cut = true;
                    break;
                }
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                Some(b',') => self.at += 1,
                Some(b'"') => {
                    let key = self.string();
                    self.blanks();
                    if self.peek() == Some(b':') {
                        self.at += 1;
                        let value = self.value(depth + 1);
                        if !(self.full || self.cut && value == Value::Null) {
                            members.push((key, value));
                        }
                    } else if self.peek().is_none() {
                        self.cut = true;
                    } else {
                        self.damaged = true;
                    }
                }
                // A bracket that closes something outside: let that have it.
                Some(b']') if depth > 0 => {
                    self.damaged = true;
                    break;
                }
                Some(_) => {
                    self.damaged = true;
                    self.at += 1;
                }
            }
        }
        Value::Map(members)
    }

    fn list(&mut self, depth: usize) -> Value {
        self.at += 1;
        let mut values = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                None => {
                    self.cut = true;
                    break;
                }
                Some(b']') => {
                    self.at += 1;
                    break;
                }
                Some(b',') => self.at += 1,
                Some(b'}') if depth > 0 => {
                    self.damaged = true;
                    break;
                }
                Some(b'}' | b':') => {
                    self.damaged = true;
                    self.at += 1;
                }
                Some(_) => {
                    let value = self.value(depth + 1);
                    if self.full || self.cut && value == Value::Null {
                        break;
                    }
                    values.push(value);
                }
            }
        }
        Value::List(values)
    }

    /// A number, `true`, `false`, `null`, or something that a person or a template put there.
    fn word(&mut self) -> Value {
        let start = self.at;
        while self.peek().is_some_and(|byte| !matches!(byte, b',' | b'}' | b']' | b':' | b'"' | b'{' | b'[')) {
            self.at += 1;
        }
        if self.at == start {
            // A stray `:` where a value should be.
            self.at += 1;
            self.damaged = true;
            return Value::Null;
        }
        if self.peek().is_none() {
            self.cut = true;
        }
        let word = self.text.get(start..self.at).unwrap_or("").trim();
        match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ => match (word.parse::<i128>(), word.parse::<f64>()) {
                (Ok(number), _) => Value::Int(number),
                (_, Ok(number)) if number.is_finite() => Value::Float(number),
                _ => {
                    self.damaged = true;
                    Value::Null
                }
            },
        }
    }

    fn string(&mut self) -> String {
        self.at += 1;
        let mut out = String::new();
        let mut start = self.at;
        loop {
            match self.peek() {
                None => {
                    self.cut = true;
                    out.push_str(self.text.get(start..).unwrap_or(""));
                    return out;
                }
                Some(b'"') => {
                    out.push_str(self.text.get(start..self.at).unwrap_or(""));
                    self.at += 1;
                    return out;
                }
                Some(b'\\') => {
                    out.push_str(self.text.get(start..self.at).unwrap_or(""));
                    self.at += 1;
                    self.escape(&mut out);
                    start = self.at;
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self, out: &mut String) {
        let Some(letter) = self.text.get(self.at..).and_then(|rest| rest.chars().next()) else {
            self.cut = true;
            return;
        };
        self.at += letter.len_utf8();
        match letter {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'u' => {
                let unit = self.unit();
                // Two units may stand for one character.
                let low = (0xd800..0xdc00)
                    .contains(&unit)
                    .then(|| {
                        let again = self.at;
                        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u"));
                        if !found {
                            return None;
                        }
                        self.at += 2;
                        let low = self.unit();
                        if !(0xdc00..0xe000).contains(&low) {
                            self.at = again;
                            return None;
                        }
                        Some(low)
                    })
                    .flatten();
                let code = match low {
                    Some(low) => 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                    None => unit,
                };
                out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            other => out.push(other),
        }
    }

    fn unit(&mut self) -> u32 {
        let digits = self.text.get(self.at..self.at.saturating_add(4));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                self.at += 4;
                unit
            }
            None => {
                self.damaged = true;
                0xfffd
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed {
        parse(text, &Budget::default())
    }

    #[test]
    fn whole_values() {
        let parsed =
            read(r#"{"a": [1, -2, 18446744005157134816, 1.5, true, null, "x\u00e9\ud83d\ude00\n\/"], "b": {}} rest"#);
        assert!(!parsed.cut && !parsed.damaged);
        let list = parsed.value.get("a").unwrap().list();
        assert_eq!(list[2].u64(), Some(18_446_744_005_157_134_816));
        assert_eq!(list[1].u64(), Some(u64::MAX - 1));
        assert_eq!(list[6].text(), Some("xé😀\n/"));
        assert_eq!(parsed.value.get("b"), Some(&Value::Map(Vec::new())));
        assert!(parsed.used > 10);
    }

    #[test]
    fn cut_and_damaged() {
        let parsed = read(r#"{"pid": 7, "threads": [{"id": 1}, {"i"#);
        assert!(parsed.cut);
        assert_eq!(parsed.value.get("pid").unwrap().u64(), Some(7));
        assert_eq!(parsed.value.at(&["threads"]).unwrap().list().len(), 2);
        let parsed = read(r#"{"offset": @foo@, "next": 3}"#);
        assert!(parsed.damaged && !parsed.cut);
        assert_eq!(parsed.value.get("next").unwrap().u64(), Some(3));
    }

    #[test]
    fn bounded() {
        let deep = "[".repeat(1_000_000);
        let parsed = read(&deep);
        assert!(parsed.damaged && parsed.cut);
        let deep = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(500), "]".repeat(500));
        assert_eq!(read(&deep).value.get("b").and_then(Value::u64), Some(1));
        let wide = format!("[{}", "0,".repeat(3_000_000));
        let parsed = read(&wide);
        assert!(parsed.damaged);
        assert!(parsed.value.list().len() < 1_100_000);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for text in
            ["", "\"", "\"\\", "\"\\u", "\"\\ud83d\\u", "{\"a", "{\"a\"", "{\"a\":", "[:", "]", "}", ":", "é", "[é:\"é"]
        {
            let _ = read(text);
        }
    }
}
