//! What Firecracker and cloud-hypervisor write beside their memory files.

use crate::build_core::pen::Pen;

/// A state file of Firecracker up to 1.10, with regions of {first address, bytes, place}; of later ones without (`None`).
#[must_use]
pub fn firecracker(arm: bool, regions: Option<&[(u64, u64)]>) -> Vec<u8> {
    let mut pen = Pen::little();
    pen.u64(if arm { 0x0710_1984_aaaa_0000 } else { 0x0710_1984_8664_0000 });
    pen.u64(5);
    pen.bytes(b"2.0.0");
    // Machine's size and flags.
    pen.u64(0x1122_3344_5566_7788);
    pen.u8(0);
    if let Some(regions) = regions {
        pen.u64(regions.len() as u64);
        let mut place = 0;
        for (start, bytes) in regions {
            pen.u64(*start);
            pen.u64(*bytes);
            pen.u64(place);
            place += bytes;
        }
    }
    pen.bytes(&[0x5a; 300]);
    pen.into_bytes()
}

/// A `state.json` of cloud-hypervisor whose memory manager's state is a string with JSON in it.
#[must_use]
pub fn cloud_hypervisor(ranges: &[(u64, u64)]) -> String {
    let table: Vec<String> =
        ranges.iter().map(|(gpa, length)| format!(r#"{{"gpa":{gpa},"length":{length}}}"#)).collect();
    let inner = format!(
        r#"{{"memory_ranges":{{"data":[{}]}},"guest_ram_mappings":[{{"slot":0,"gpa":0,"size":4096,"zone_id":"mem0"}}]}}"#,
        table.join(",")
    );
    let escaped = inner.replace('"', "\\\"");
    format!(
        r#"{{"snapshots":{{"memory-manager":{{"snapshot_data":{{"state":"{escaped}"}},"snapshots":{{}}}}}},"snapshot_data":null}}"#
    )
}
