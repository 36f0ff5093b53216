//! Every hostile input of the test kit: an answer or an error, soon.

use afterimage_dump::{Budget, Memory, Virt, open_source};
use std::path::Path;
use std::sync::Arc;

#[test]
fn hostile_inputs_end_soon() {
    for (name, bytes) in afterimage_testkit::hostile::hostile_inputs() {
        let start = std::time::Instant::now();
        if let Ok(dump) = open_source(Path::new("hostile"), Arc::new(bytes), &Budget::default()) {
            let _ = dump.memory.read_at(Virt(0x40_0000), &mut [0; 256]);
            let _ = dump.memory.extents();
        }
        println!("{:>8.3} s {name}", start.elapsed().as_secs_f64());
        assert!(start.elapsed().as_secs() < 30, "{name}: {:?}", start.elapsed());
    }
}
