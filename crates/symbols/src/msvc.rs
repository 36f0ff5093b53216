//! Microsoft's decorated C++ names: the qualified name of a function or type, without its parameters.
//!
//! What it is not: a full demangler. What is not understood whole is not shown in part: the decorated name stays.
//!
//! ```
//! use afterimage_symbols::{demangle, msvc_type_name};
//! assert_eq!(demangle("?run@Server@net@@QEAAXXZ"), "net::Server::run");
//! assert_eq!(msvc_type_name(".?AVruntime_error@std@@").as_deref(), Some("std::runtime_error"));
//! ```
//!
//! Trap: scopes stand inside out, and a digit repeats one of the first ten names. Template arguments have a list of
//! their own.

/// Longer names are not looked into.
const MAX_NAME: usize = 4096;
const MAX_DEPTH: usize = 24;

/// The qualified name of a decorated function or variable.
pub(crate) fn function_name(raw: &str) -> Option<String> {
    let mut parser = Parser::new(raw.strip_prefix('?')?)?;
    parser.qualified()
}

/// The name of the type in a `TypeDescriptor`, as `.?AVruntime_error@std@@` or `.PEBD`; `None` if it is not understood.
pub fn type_name(raw: &str) -> Option<String> {
    let mut parser = Parser::new(raw.strip_prefix('.')?)?;
    let name = parser.kind()?;
    parser.rest.is_empty().then_some(name)
}

struct Parser<'a> {
    rest: &'a [u8],
    names: Vec<String>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Option<Self> {
        (text.len() <= MAX_NAME).then(|| Self { rest: text.as_bytes(), names: Vec::new(), depth: 0 })
    }

    fn eat(&mut self, what: &str) -> bool {
        let rest = self.rest.strip_prefix(what.as_bytes());
        if let Some(rest) = rest {
            self.rest = rest;
        }
        rest.is_some()
    }

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        let found = if self.depth <= MAX_DEPTH { inner(self) } else { None };
        self.depth -= 1;
        found
    }

    /// Text up to an `@`.
    fn word(&mut self) -> Option<String> {
        let end = self.rest.iter().position(|&byte| byte == b'@')?;
        let (word, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        let word = std::str::from_utf8(word).ok().filter(|word| !word.is_empty())?;
        Some(word.to_owned())
    }

    fn remember(&mut self, name: &str) {
        if self.names.len() < 10 && !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    /// A name with its scopes, which ends in a further `@`.
    fn qualified(&mut self) -> Option<String> {
        self.deeper(|parser| {
            let mut special = None;
            let mut parts = vec![match parser.rest {
                [b'?', b'$', ..] => parser.part()?,
                [b'?', ..] => {
                    parser.next();
                    special = Some(parser.operator()?);
                    String::new()
                }
                _ => parser.part()?,
            }];
            while !parser.eat("@") {
                if parts.len() > 64 {
                    return None;
                }
                parts.push(parser.part()?);
            }
            if let Some(special) = special {
                let class = parts.get(1).cloned().unwrap_or_default();
                let bare = class.split('<').next().unwrap_or_default().to_owned();
                *parts.first_mut()? = match special {
                    "ctor" => bare,
                    "dtor" => format!("~{bare}"),
                    other => other.to_owned(),
                };
            }
            parts.reverse();
            Some(parts.join("::"))
        })
    }

    /// One scope or name.
    fn part(&mut self) -> Option<String> {
        match *self.rest {
            [digit @ b'0'..=b'9', ..] => {
                self.next();
                self.names.get(usize::from(digit - b'0')).cloned()
            }
            [b'?', b'$', ..] => self.template(),
            [b'?', b'A', ..] => {
                // An anonymous namespace has a number that is of no use.
                self.word()?;
                let name = "`anonymous namespace'".to_owned();
                self.remember(&name);
                Some(name)
            }
            [b'?', ..] => None,
            _ => {
                let word = self.word()?;
                self.remember(&word);
                Some(word)
            }
        }
    }

    fn template(&mut self) -> Option<String> {
        self.eat("?$");
        let outer = std::mem::take(&mut self.names);
        let name = self.deeper(|parser| {
            let base = parser.word()?;
            parser.remember(&base);
            let mut arguments = Vec::new();
            while !parser.eat("@") {
                if arguments.len() > 64 {
                    return None;
                }
                arguments.push(parser.argument()?);
            }
            Some(format!("{base}<{}>", arguments.join(",")))
        });
        self.names = outer;
        let name = name?;
        self.remember(&name);
        Some(name)
    }

    fn argument(&mut self) -> Option<String> {
        if self.eat("$0") {
            return self.number();
        }
        if self.rest.first() == Some(&b'$') && !self.rest.starts_with(b"$$") {
            return None;
        }
        self.kind()
    }

    fn number(&mut self) -> Option<String> {
        let sign = if self.eat("?") { "-" } else { "" };
        if let [digit @ b'0'..=b'9', ..] = *self.rest {
            self.next();
            return Some(format!("{sign}{}", digit - b'0' + 1));
        }
        let mut value = 0u64;
        loop {
            match self.next()? {
                b'@' => return Some(format!("{sign}{value}")),
                digit @ b'A'..=b'P' => value = value.checked_mul(16)?.checked_add(u64::from(digit - b'A'))?,
                _ => return None,
            }
        }
    }

    /// A type.
    fn kind(&mut self) -> Option<String> {
        self.deeper(|parser| {
            if parser.eat("?A") || parser.eat("?B") {
                return parser.kind();
            }
            let simple = match parser.next()? {
                b'C' => "signed char",
                b'D' => "char",
                b'E' => "unsigned char",
                b'F' => "short",
                b'G' => "unsigned short",
                b'H' => "int",
                b'I' => "unsigned int",
                b'J' => "long",
                b'K' => "unsigned long",
                b'M' => "float",
                b'N' => "double",
                b'O' => "long double",
                b'X' => "void",
                b'_' => match parser.next()? {
                    b'J' => "__int64",
                    b'K' => "unsigned __int64",
                    b'N' => "bool",
                    b'W' => "wchar_t",
                    b'Q' => "char8_t",
                    b'S' => "char16_t",
                    b'U' => "char32_t",
                    _ => return None,
                },
                b'T' | b'U' | b'V' => return parser.qualified(),
                b'W' => {
                    parser.next()?;
                    return parser.qualified();
                }
                letter @ (b'A' | b'P' | b'Q') => {
                    // A reference or pointer, on 64 bits with an E; then what it points at: A plain, B const.
                    parser.eat("E");
                    let constant = match parser.next()? {
                        b'A' => "",
                        b'B' => " const",
                        _ => return None,
                    };
                    let inner = parser.kind()?;
                    return Some(format!("{inner}{constant} {}", if letter == b'A' { '&' } else { '*' }));
                }
                b'$' if parser.eat("$T") => "std::nullptr_t",
                _ => return None,
            };
            Some(simple.to_owned())
        })
    }

    /// The name of an operator or special function; the `?` is eaten.
    fn operator(&mut self) -> Option<&'static str> {
        Some(match self.next()? {
            b'0' => "ctor",
            b'1' => "dtor",
            b'2' => "operator new",
            b'3' => "operator delete",
            b'4' => "operator=",
            b'5' => "operator>>",
            b'6' => "operator<<",
            b'7' => "operator!",
            b'8' => "operator==",
            b'9' => "operator!=",
            b'A' => "operator[]",
            b'C' => "operator->",
            b'D' => "operator*",
            b'E' => "operator++",
            b'F' => "operator--",
            b'G' => "operator-",
            b'H' => "operator+",
            b'I' => "operator&",
            b'K' => "operator/",
            b'L' => "operator%",
            b'M' => "operator<",
            b'N' => "operator<=",
            b'O' => "operator>",
            b'P' => "operator>=",
            b'R' => "operator()",
            b'Y' => "operator+=",
            b'Z' => "operator-=",
            b'_' => match self.next()? {
                b'7' => "`vftable'",
                b'G' => "`scalar deleting destructor'",
                b'E' => "`vector deleting destructor'",
                b'U' => "operator new[]",
                b'V' => "operator delete[]",
                _ => return None,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names as MSVC and clang-cl write them, with what `undname` and `llvm-undname` print, less types.
    #[test]
    fn names_of_functions() {
        for (raw, plain) in [
            ("?f@@YAXXZ", "f"),
            ("?run@Server@net@@QEAAXXZ", "net::Server::run"),
            ("??0Server@net@@QEAA@XZ", "net::Server::Server"),
            ("??1Server@net@@UEAA@XZ", "net::Server::~Server"),
            ("??2@YAPEAX_K@Z", "operator new"),
            ("?same@same@@QEAAXXZ", "same::same"),
            ("?f@?A0x1234@@YAXXZ", "`anonymous namespace'::f"),
            ("?size@?$vector@HV?$allocator@H@std@@@std@@QEBA_KXZ", "std::vector<int,std::allocator<int>>::size"),
            ("?what@exception@std@@UEBAPEBDXZ", "std::exception::what"),
        ] {
            assert_eq!(function_name(raw).as_deref(), Some(plain), "{raw}");
        }
        for odd in ["?", "??", "?f", "?$$$@", "???@?6?A@@", "?9@@YAXXZ"] {
            let _ = function_name(odd);
        }
        assert!(function_name(&format!("?{}", "?$a@V".repeat(500))).is_none());
    }

    #[test]
    fn names_of_types() {
        for (raw, plain) in [
            (".?AVruntime_error@std@@", "std::runtime_error"),
            (".?AUpoint@@", "point"),
            (".H", "int"),
            (".PEBD", "char const *"),
            (".PAD", "char *"),
            (".?AW4colour@@", "colour"),
            (
                ".?AV?$basic_string@DU?$char_traits@D@std@@V?$allocator@D@2@@std@@",
                "std::basic_string<char,std::char_traits<char>,std::allocator<char>>",
            ),
        ] {
            assert_eq!(type_name(raw).as_deref(), Some(plain), "{raw}");
        }
        assert_eq!(type_name("?AV"), None);
    }
}
