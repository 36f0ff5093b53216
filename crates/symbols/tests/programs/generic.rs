// Generics, closures, traits, inlining.
use std::collections::BTreeMap;

trait Area {
    fn area(&self) -> f64;
}
struct Square(f64);
impl Area for Square {
    #[inline(never)]
    fn area(&self) -> f64 {
        self.0 * std::hint::black_box(self.0)
    }
}

#[inline(always)]
fn add(a: u64, b: u64) -> u64 {
    std::hint::black_box(a).wrapping_add(b)
}

#[inline(never)]
fn fold<T: Copy + Into<u64>>(items: &[T]) -> u64 {
    items.iter().fold(0, |sum, item| add(sum, (*item).into()))
}

mod deep {
    pub mod deeper {
        #[inline(never)]
        pub fn call(f: impl Fn(u32) -> u32) -> u32 {
            f(std::hint::black_box(3))
        }
    }
}

fn main() {
    let shape: Box<dyn Area> = Box::new(Square(2.0));
    let mut map = BTreeMap::new();
    map.insert(fold(&[1u32, 2, 3]), fold(&[1u8, 2]));
    let n = deep::deeper::call(|n| n + map.len() as u32);
    println!("{} {n} {map:?}", shape.area());
}
