//! Builds Mach-O cores: a header, load commands, then the content of notes and segments.
//!
//! It shares no layout code with the reader. For example `Core::x86_64().thread(&[(4, words)]).bytes()` has one thread.
//!
//! Trap: offsets in a core count from its first byte, so what lies behind the commands can only be placed when all of
//! them are known; [`Core::bytes`] does that.

/// A segment: address, protection (1 read, 2 write, 4 execute), content, and bytes in memory.
struct Segment {
    address: u64,
    protection: u32,
    content: Vec<u8>,
    size: u64,
}

/// A core in the making.
pub struct Core {
    cpu: (u32, u32),
    segments: Vec<Segment>,
    /// Flavor and words of each state of each thread.
    threads: Vec<Vec<(u32, Vec<u32>)>>,
    notes: Vec<(&'static str, Vec<u8>)>,
    images: Vec<(u64, [u8; 16], String)>,
}

fn word(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_le_bytes());
}

fn long(out: &mut Vec<u8>, value: u64) {
    out.extend(value.to_le_bytes());
}

fn name(out: &mut Vec<u8>, text: &str) {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(16, 0);
    out.extend(bytes);
}

/// Words of 32 bits of values of 64.
pub fn words(values: &[u64]) -> Vec<u32> {
    values.iter().flat_map(|value| [*value as u32, (*value >> 32) as u32]).collect()
}

/// The header of an image as it lies in memory: its `__TEXT`, its UUID, and the name of a library.
pub fn image(file_type: u32, vmaddr: u64, size: u64, uuid: [u8; 16], library: Option<&str>) -> Vec<u8> {
    let mut commands = Vec::new();
    let mut count = 2;
    for value in [0x19, 72] {
        word(&mut commands, value);
    }
    name(&mut commands, "__TEXT");
    for value in [vmaddr, size, 0, size] {
        long(&mut commands, value);
    }
    for value in [5, 5, 0, 0] {
        word(&mut commands, value);
    }
    word(&mut commands, 0x1b);
    word(&mut commands, 24);
    commands.extend(uuid);
    if let Some(library) = library {
        count += 1;
        let length = (24 + library.len() + 1).next_multiple_of(8);
        let from = commands.len();
        for value in [0xd, length as u32, 24, 1, 0, 0] {
            word(&mut commands, value);
        }
        commands.extend(library.as_bytes());
        commands.resize(from + length, 0);
    }
    let mut out = Vec::new();
    for value in [0xfeed_facf, 0x0100_0007, 3, file_type, count, commands.len() as u32, 0, 0] {
        word(&mut out, value);
    }
    out.extend(commands);
    out
}

impl Core {
    fn new(cpu: (u32, u32)) -> Self {
        Self { cpu, segments: Vec::new(), threads: Vec::new(), notes: Vec::new(), images: Vec::new() }
    }

    /// Of an Intel Mac.
    pub fn x86_64() -> Self {
        Self::new((0x0100_0007, 3))
    }

    /// Of an Arm Mac.
    pub fn arm64() -> Self {
        Self::new((0x0100_000c, 0))
    }

    /// Adds memory.
    pub fn segment(mut self, address: u64, protection: u32, content: Vec<u8>, size: u64) -> Self {
        self.segments.push(Segment { address, protection, content, size });
        self
    }

    /// Adds a thread with its states.
    pub fn thread(mut self, states: &[(u32, Vec<u32>)]) -> Self {
        self.threads.push(states.to_vec());
        self
    }

    /// Adds a note.
    pub fn note(mut self, owner: &'static str, content: Vec<u8>) -> Self {
        self.notes.push((owner, content));
        self
    }

    /// Lists an image in "all image infos".
    pub fn listed(mut self, base: u64, uuid: [u8; 16], path: &str) -> Self {
        self.images.push((base, uuid, path.to_owned()));
        self
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let listed = usize::from(!self.images.is_empty());
        let threads: usize =
            self.threads.iter().map(|states| 8 + states.iter().map(|(_, w)| 8 + 4 * w.len()).sum::<usize>()).sum();
        let size = threads + 40 * (self.notes.len() + listed) + 72 * self.segments.len();
        let count = self.threads.len() + self.notes.len() + listed + self.segments.len();
        let mut out = Vec::new();
        for value in [0xfeed_facf, self.cpu.0, self.cpu.1, 4, count as u32, size as u32, 0, 0] {
            word(&mut out, value);
        }
        let start = 32 + size;
        let mut tail: Vec<u8> = Vec::new();
        for states in &self.threads {
            word(&mut out, 4);
            word(&mut out, (8 + states.iter().map(|(_, w)| 8 + 4 * w.len()).sum::<usize>()) as u32);
            for (flavor, words) in states {
                word(&mut out, *flavor);
                word(&mut out, words.len() as u32);
                words.iter().for_each(|value| word(&mut out, *value));
            }
        }
        let mut note = |owner: &str, content: &[u8], tail: &mut Vec<u8>| {
            word(&mut out, 0x31);
            word(&mut out, 40);
            name(&mut out, owner);
            long(&mut out, (start + tail.len()) as u64);
            long(&mut out, content.len() as u64);
            tail.extend(content);
        };
        for (owner, content) in &self.notes {
            note(owner, content, &mut tail);
        }
        if listed == 1 {
            // Header of 24 bytes, entries of 48, then the paths.
            let here = start + tail.len();
            let paths_at = here + 24 + 48 * self.images.len();
            let (mut content, mut paths) = (Vec::new(), Vec::new());
            word(&mut content, 1);
            word(&mut content, self.images.len() as u32);
            long(&mut content, (here + 24) as u64);
            word(&mut content, 48);
            word(&mut content, 0);
            for (base, uuid, path) in &self.images {
                long(&mut content, (paths_at + paths.len()) as u64);
                content.extend(uuid);
                long(&mut content, *base);
                long(&mut content, u64::MAX);
                word(&mut content, 0);
                word(&mut content, 0);
                paths.extend(path.as_bytes());
                paths.push(0);
            }
            content.extend(paths);
            note("all image infos", &content, &mut tail);
        }
        for segment in &self.segments {
            word(&mut out, 0x19);
            word(&mut out, 72);
            name(&mut out, "");
            for value in [segment.address, segment.size, (start + tail.len()) as u64, segment.content.len() as u64] {
                long(&mut out, value);
            }
            for value in [7, segment.protection, 0, 0] {
                word(&mut out, value);
            }
            tail.extend(&segment.content);
        }
        out.extend(tail);
        out
    }

    /// The header and load commands of a yaml2obj description whose commands are LC_THREAD with `PayloadBytes` and
    /// LC_SEGMENT_64: what `yaml2obj` would write, without the segments' content. `None` if it holds anything else.
    pub fn head_of_yaml(text: &str) -> Option<Vec<u8>> {
        let number = |text: &str| -> Option<u64> {
            let text = text.trim();
            text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |digits| u64::from_str_radix(digits, 16).ok())
        };
        let mut out = Vec::new();
        let mut payload = false;
        for line in text.lines() {
            let line = line.trim();
            if let Some(value) = line.strip_prefix("- 0x").filter(|_| payload) {
                out.push(u8::from_str_radix(value, 16).ok()?);
                continue;
            }
            let Some((key, value)) = line.trim_start_matches("- ").split_once(':') else { continue };
            let value = value.trim();
            payload = key == "PayloadBytes";
            match key {
                "magic" | "cputype" | "cpusubtype" | "filetype" | "ncmds" | "sizeofcmds" | "flags" | "reserved"
                | "cmdsize" | "maxprot" | "initprot" | "nsects" => word(&mut out, number(value)? as u32),
                "cmd" => word(
                    &mut out,
                    match value {
                        "LC_THREAD" => 4,
                        "LC_SEGMENT_64" => 0x19,
                        _ => return None,
                    },
                ),
                "segname" => name(&mut out, value.trim_matches('\'')),
                "vmaddr" | "vmsize" | "fileoff" | "filesize" => long(&mut out, number(value)?),
                _ => {}
            }
        }
        Some(out)
    }
}
