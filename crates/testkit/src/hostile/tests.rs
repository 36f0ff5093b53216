//! Whether the hostile files are what they say they are: the tools that own the formats are asked.

use super::*;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

/// The first and the number of all bytes that a tool unpacks, up to a limit; `None` if the tool is missing outside CI.
fn unpacked(tool: &str, file: &[u8], limit: u64) -> Option<(Vec<u8>, u64)> {
    use std::io::Read;
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("file");
    std::fs::write(&path, file).expect("file written");
    let input = std::fs::File::open(&path).expect("file opened");
    let child = Command::new(tool).arg("-dc").stdin(input).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(cause) => {
            assert!(std::env::var_os("CI").is_none(), "{tool} is needed: {cause}");
            eprintln!("not checked, {tool} is missing: {cause}");
            return None;
        }
    };
    let mut output = child.stdout.take().expect("piped").take(limit);
    let mut start = vec![0; 1 << 16];
    output.read_exact(&mut start).expect("64 KiB unpacked");
    let rest = std::io::copy(&mut output, &mut std::io::sink()).expect("unpacked");
    drop(output);
    let _ = child.wait();
    Some((start, rest + (1 << 16)))
}

#[test]
fn names_are_unique_and_groups_are_known() {
    let inputs = all();
    let names: BTreeSet<_> = inputs.iter().map(Hostile::name).collect();
    assert_eq!(names.len(), inputs.len());
    for name in names {
        let group = name.split('/').next().expect("a group");
        assert!(["not-a-dump", "core", "stack", "minidump", "compressed"].contains(&group), "{name}");
    }
}

#[test]
fn inputs_keep_to_the_size_they_are_sorted_by_and_can_be_made() {
    let mut count = 0;
    for (name, bytes) in hostile_inputs() {
        assert!(bytes.len() <= 20 << 20, "{name} has {} bytes", bytes.len());
        count += 1;
    }
    assert!(count > 300, "only {count} inputs");
}

#[test]
fn bombs_unpack_to_the_core_and_to_gibibytes() {
    const LIMIT: u64 = 300 << 20;
    let front = compressed::front();
    let bombs = [
        ("gzip", compressed::gzip(&front, 1024)),
        ("zstd", compressed::zstd(&front, 32 << 10)),
        ("xz", xz_blocks::bomb(&front, 32 << 10)),
        ("bzip2", bzip2_blocks::bomb(&front, 760)),
        ("lz4", compressed::lz4(&front, 1024)),
    ];
    for (tool, bomb) in bombs {
        assert!(bomb.len() <= 20 << 20, "{tool}: {} bytes", bomb.len());
        let Some((start, length)) = unpacked(tool, &bomb, LIMIT) else { continue };
        assert_eq!(&start[..front.len()], &front[..], "{tool}");
        assert!(start[front.len()..].iter().all(|byte| *byte == 0), "{tool}");
        assert_eq!(length, LIMIT, "{tool} stopped early");
    }
}

/// The ends of bombs are right too: small ones unpack whole, checksums and all.
#[test]
fn small_bombs_pass_the_tools_own_test() {
    let front = compressed::front();
    let files = [
        ("gzip", compressed::gzip(&front, 2)),
        ("zstd", compressed::zstd(&front, 2)),
        ("xz", xz_blocks::bomb(&front, 3)),
        ("xz", xz_blocks::with_dictionary(&front, 18)),
        ("bzip2", bzip2_blocks::bomb(&front, 2)),
        ("lz4", compressed::lz4(&front, 2)),
    ];
    for (tool, file) in files {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("file");
        std::fs::write(&path, &file).expect("file written");
        let input = std::fs::File::open(&path).expect("file opened");
        match Command::new(tool).arg("-t").stdin(input).output() {
            Ok(output) => assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(cause) => assert!(std::env::var_os("CI").is_none(), "{tool} is needed: {cause}"),
        }
    }
}

#[test]
fn images_are_damaged_where_their_names_say() {
    let image = memory::sound_image();
    let bytes = image.bytes();
    assert_eq!(image.dynamic_address(), 0x40_0000 + memory::DYNAMIC as u64);
    assert_eq!(bytes[memory::NOTE..memory::NOTE + 16], *b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0");
    assert_eq!(bytes[memory::UNWIND..memory::UNWIND + 4], [1, 0x1b, 3, 0x3b]);
}

#[test]
fn prefixes_end_with_the_whole() {
    let bytes: Vec<u8> = (0..10).collect();
    let lengths: Vec<_> = prefixes(&bytes, 4).map(<[u8]>::len).collect();
    assert_eq!(lengths, [0, 4, 8, 10]);
    assert_eq!(prefixes(&bytes, 0).count(), 11);
}

#[test]
fn a_folder_gets_one_file_each() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let paths = write_hostile(folder.path(), false).expect("written");
    assert_eq!(paths.len(), all().iter().filter(|input| !input.is_large()).count());
    let empty = folder.path().join("not-a-dump--empty");
    assert_eq!(std::fs::metadata(empty).expect("file is there").len(), 0);
}

/// All files, the large ones too, for looking at them by hand:
/// `WRITE_TO=/some/folder cargo test -p afterimage-testkit -- --ignored write_all_hostile_files`.
#[test]
#[ignore = "writes about 1.5 GB for people"]
fn write_all_hostile_files() {
    let folder = std::env::var_os("WRITE_TO").expect("WRITE_TO names the folder");
    write_hostile(Path::new(&folder), true).expect("written");
    for input in all().iter().filter(|input| input.is_large()) {
        let path = Path::new(&folder).join(input.name().replace('/', "--"));
        assert!(std::fs::metadata(path).expect("file is there").len() > 20 << 20, "{} is not large", input.name());
    }
}
