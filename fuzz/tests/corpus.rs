//! Every seed, and whatever a fuzzer found before, through its body as an ordinary function.

use afterimage_fuzz::BODIES;
use std::path::Path;

#[test]
fn every_seed_passes() {
    for (name, body) in BODIES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        seeds.sort();
        assert!(seeds.len() >= 3, "{name} has only {} seeds", seeds.len());
        for seed in seeds {
            println!("{}", seed.display());
            body(&std::fs::read(&seed).unwrap());
        }
    }
}
