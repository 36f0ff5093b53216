//! How values look, and that they have an end.

use super::text::{Surroundings, Texts};
use crate::testing;
use afterimage_dump::{Dump, Endian, Memory, Virt};
use afterimage_symbols::{Content, Member, Missing, Pieces, Pointee, Shape, Type};

const AT: u64 = 0x1000;

struct Around(Dump);

impl Surroundings for Around {
    fn memory(&self) -> &dyn Memory<Virt> {
        &*self.0.memory
    }
    fn name(&self, at: u64) -> Option<String> {
        (at == 0x4000).then(|| "main".into())
    }
}

fn shown(bytes: &[u8], declared: &Type) -> Result<String, String> {
    let around = Around(testing::dump(vec![(AT, bytes.to_vec())]));
    Texts::new(&around, Endian::Little).value(declared, &Ok(Content::Memory(AT)))
}

fn plain(size: u64, shape: Shape) -> Type {
    Type { name: String::new(), size: Some(size), shape }
}

fn int() -> Type {
    plain(4, Shape::Integer { signed: true })
}

fn array(element: Type, count: u64) -> Type {
    let size = element.size.and_then(|size| size.checked_mul(count));
    Type { name: String::new(), size, shape: Shape::Array { element: Box::new(element), count: Some(count) } }
}

fn member(name: &str, offset: u64, declared: Type) -> Member {
    Member { name: Some(name.into()), offset: Some(offset), bits: None, base: false, declared }
}

#[test]
fn values_without_parts() {
    let character = || plain(1, Shape::Character { signed: true });
    let names = vec![("RED".to_owned(), 1), ("BLUE".to_owned(), 4)];
    let colour = || plain(4, Shape::Enumeration { signed: false, names: names.clone() });
    let (large, main, far) = (1e300f64.to_le_bytes(), 0x4000u64.to_le_bytes(), 0x5000u64.to_le_bytes());
    let cases: Vec<(&[u8], Type, &str)> = vec![
        (&[0xfe, 0xff, 0xff, 0xff], int(), "-2"),
        (&[0xfe, 0xff, 0xff, 0xff], plain(4, Shape::Integer { signed: false }), "4294967294"),
        (&[0xff; 16], plain(16, Shape::Integer { signed: true }), "-1"),
        (&[1], plain(1, Shape::Boolean), "true"),
        (&[7], plain(1, Shape::Boolean), "7"),
        (b"A", character(), "65 'A'"),
        (b"\n", character(), "10 '\\n'"),
        (&[0xff], character(), "-1"),
        (&[0, 0, 0xc0, 0x3f], plain(4, Shape::Float), "1.5"),
        (&large, plain(8, Shape::Float), "1e300"),
        // 2.25 as x87 has it.
        (&[0, 0, 0, 0, 0, 0, 0, 0x90, 0, 0x40, 0, 0, 0, 0, 0, 0], plain(16, Shape::Float), "2.25"),
        (&[4, 0, 0, 0], colour(), "BLUE"),
        (&[5, 0, 0, 0], colour(), "RED | BLUE"),
        (&[9, 0, 0, 0], colour(), "9"),
        (&[0; 8], plain(8, Shape::Pointer(Pointee::Text)), "0x0"),
        (&main, plain(8, Shape::Pointer(Pointee::Code)), "0x4000 <main>"),
        (&far, plain(8, Shape::Pointer(Pointee::Text)), "0x5000"),
    ];
    for (bytes, declared, text) in cases {
        assert_eq!(shown(bytes, &declared).as_deref(), Ok(text));
    }
}

#[test]
fn texts_structures_and_arrays() {
    let mut bytes = (AT + 8).to_le_bytes().to_vec();
    bytes.extend(b"say \"\xc3\xa4\x07\"\0rest");
    assert_eq!(
        shown(&bytes, &plain(8, Shape::Pointer(Pointee::Text))).as_deref(),
        Ok("0x1008 -> \"say \\\"ä\\x07\\\"\"")
    );
    let bits = Member { bits: Some((35, 5)), ..member("flags", 4, int()) };
    let members = vec![member("a", 0, int()), bits, member("lost", 1 << 20, int())];
    let pair = plain(8, Shape::Structure { members, cut: true, variants: None });
    // Bits 35 to 39 are the upper five of the fifth byte.
    assert_eq!(
        shown(&[5, 0, 0, 0, 0b1111_0000, 0, 0, 0], &pair).as_deref(),
        Ok("{a = 5, flags = -2, lost = <its memory is not mapped>, …}")
    );
    let bytes: Vec<u8> = [1, 2, 2, 2, 2, 2, 3].iter().flat_map(|number: &i32| number.to_le_bytes()).collect();
    assert_eq!(shown(&bytes, &array(int(), 7)).as_deref(), Ok("{1, 2 <5 times>, 3}"));
    assert_eq!(shown(b"hi\0\0\0\0", &array(plain(1, Shape::Character { signed: true }), 6)).as_deref(), Ok("\"hi\""));
}

#[test]
fn a_rust_enum_is_the_alternative_that_it_has() {
    let none = member("None", 0, plain(8, Shape::Structure { members: Vec::new(), cut: false, variants: None }));
    let inner = Shape::Structure { members: vec![member("__0", 4, int())], cut: false, variants: None };
    let arms = vec![(Some(0), none), (Some(1), member("Some", 0, plain(8, inner)))];
    let discriminant = Some(Box::new(member("tag", 0, plain(4, Shape::Integer { signed: false }))));
    let variants = Some(afterimage_symbols::Variants { discriminant, arms });
    let option = plain(8, Shape::Structure { members: Vec::new(), cut: false, variants });
    assert_eq!(shown(&[0; 8], &option).as_deref(), Ok("None"));
    assert_eq!(shown(&[1, 0, 0, 0, 5, 0, 0, 0], &option).as_deref(), Ok("Some(5)"));
    assert!(shown(&[2, 0, 0, 0, 5, 0, 0, 0], &option).is_err());
}

#[test]
fn what_is_missing_says_why() {
    let around = Around(testing::dump(vec![(AT, vec![0; 16])]));
    let texts = Texts::new(&around, Endian::Little);
    let why = |content| texts.value(&int(), &content).unwrap_err();
    assert_eq!(why(Err(Missing::OptimizedOut)), "optimized out");
    assert_eq!(why(Err(Missing::NotSaved { register: 3 })), "its register was not saved");
    assert_eq!(why(Err(Missing::NotInDump { address: 0x9000 })), "its memory is not mapped");
    assert_eq!(why(Ok(Content::Memory(0x9000))), "its memory is not mapped");
    let pieces = Pieces { bytes: vec![1, 0, 0, 0, 0, 0, 0, 0], gaps: vec![(4, 8, Missing::OptimizedOut)] };
    let pair = plain(
        8,
        Shape::Structure { members: vec![member("a", 0, int()), member("b", 4, int())], cut: false, variants: None },
    );
    assert_eq!(texts.value(&pair, &Ok(Content::Bytes(pieces))).as_deref(), Ok("{a = 1, b = <optimized out>}"));
}

#[test]
fn what_is_large_is_cut() {
    let mut nested = int();
    for _ in 0..50 {
        nested = plain(4, Shape::Structure { members: vec![member("in", 0, nested)], cut: false, variants: None });
    }
    assert_eq!(shown(&[0; 4], &nested).as_deref(), Ok("{in = {in = {in = {in = {…}}}}}"));
    let huge = array(array(int(), 1 << 40), 1 << 40);
    assert!(shown(&[0; 64], &huge).is_ok_and(|text| text.len() < 2000));
    let nothing = array(plain(0, Shape::Structure { members: Vec::new(), cut: false, variants: None }), u64::MAX);
    assert_eq!(shown(&[0; 4], &nothing).as_deref(), Ok("{…}"));
    let numbers: Vec<u8> = (0..1000u32).flat_map(u32::to_le_bytes).collect();
    let text = shown(&numbers, &array(int(), 1000)).unwrap();
    assert!(text.starts_with("{0, 1, 2") && text.ends_with("…}") && text.len() < 200, "{text}");
    let wide: Vec<Member> = (0..10_000).map(|index| member(&format!("member_{index}"), 0, int())).collect();
    let text = shown(&[0; 4], &plain(4, Shape::Structure { members: wide, cut: false, variants: None })).unwrap();
    assert!(text.chars().count() < 500, "{text}");
    let odd = vec![0xcc; 64];
    let mut bytes = (AT + 8).to_le_bytes().to_vec();
    bytes.extend(odd);
    assert_eq!(shown(&bytes, &plain(8, Shape::Pointer(Pointee::Text))).as_deref(), Ok("0x1008"));
}
