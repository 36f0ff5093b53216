//! What the guest's console says: the module's own words, the kernel's on its faults, and stacks of those that sleep.

use std::collections::BTreeMap;

/// A frame as a kernel prints it: function, distance, module.
pub type Frame = (String, u64, Option<String>);

/// A line `trouble: PID COMM wants|has HOW NAME ADDRESS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub pid: u64,
    pub comm: String,
    /// It has the lock; before that it wants it.
    pub has: bool,
    pub how: String,
    pub lock: String,
    pub address: u64,
}

/// A fault, as the kernel printed it.
#[derive(Debug, Default)]
pub struct Oops {
    pub cpu: u64,
    pub pid: u64,
    pub comm: String,
    /// Where it happened; an address without a function has none.
    pub place: Option<Frame>,
    pub registers: BTreeMap<String, u64>,
    /// The callers, without what the kernel marks as a guess.
    pub trace: Vec<Frame>,
}

/// Lines without their times.
pub fn lines(console: &str) -> Vec<&str> {
    let text =
        |line: &'_ str| -> usize { if line.starts_with('[') { line.find(']').map_or(0, |at| at + 1) } else { 0 } };
    console.lines().map(|line| line.get(text(line)..).unwrap_or_default()).collect()
}

/// Who took which lock, in order.
pub fn steps(lines: &[&str]) -> Vec<Step> {
    let one = |line: &&str| {
        let words: Vec<&str> = line.trim().strip_prefix("trouble: ")?.split(' ').collect();
        let [pid, comm, verb, how, lock, address] = words.as_slice() else { return None };
        Some(Step {
            pid: pid.parse().ok()?,
            comm: (*comm).to_owned(),
            has: *verb == "has",
            how: (*how).to_owned(),
            lock: (*lock).to_owned(),
            address: u64::from_str_radix(address, 16).ok()?,
        })
    };
    lines.iter().filter_map(one).collect()
}

/// `name+0x12/0x34 [module]`; `None` for what is a guess or no frame.
fn frame(line: &str) -> Option<Frame> {
    let line = line.trim();
    let (name, rest) = line.split_once("+0x")?;
    let (offset, rest) = rest.split_once('/')?;
    let module = rest.split_once('[').and_then(|(_, rest)| rest.split(']').next());
    // A build id may stand behind the module's name.
    let module = module.and_then(|module| module.split(' ').next()).map(str::to_owned);
    let fits = !name.is_empty() && !name.contains([' ', '?', ':']);
    fits.then(|| Some((name.to_owned(), u64::from_str_radix(offset, 16).ok()?, module)))?
}

/// The head of a call trace; arm64 writes it in small letters.
fn is_trace(line: &str) -> bool {
    line.contains("Call Trace:") || line.contains("Call trace:")
}

/// The frames of the first call trace in these lines.
pub fn trace(lines: &[&str]) -> Vec<Frame> {
    let mut lines = lines.iter().skip_while(|line| !is_trace(line));
    lines.next();
    let lines = lines.take_while(|line| {
        let line = line.trim();
        !line.starts_with("Modules linked in") && !line.starts_with("---[") && !line.starts_with("task:")
    });
    // Where an interrupt met the kernel, its registers stand between, and the place in them is a frame.
    lines.filter_map(|line| frame(line.trim().strip_prefix("RIP: 0010:").unwrap_or(line))).collect()
}

/// The first fault of the kernel.
pub fn oops(lines: &[&str]) -> Option<Oops> {
    let head = lines.iter().position(|line| {
        let line = line.trim();
        line.contains(" [#1]") && !line.starts_with("RIP")
    })?;
    let lines = lines.get(head..)?;
    let mut oops = Oops::default();
    let cpu = lines.iter().find_map(|line| line.trim().strip_prefix("CPU: "))?;
    let words: Vec<&str> = cpu.split_whitespace().collect();
    oops.cpu = words.first()?.parse().ok()?;
    let after = |key: &str| words.iter().position(|word| *word == key).and_then(|at| words.get(at + 1));
    oops.pid = after("PID:")?.parse().ok()?;
    oops.comm = after("Comm:").map(|comm| (*comm).to_owned())?;
    let place = lines.iter().position(|line| line.trim().starts_with("RIP: 0010:"))?;
    let rip = lines.get(place)?.trim().strip_prefix("RIP: 0010:")?;
    oops.place = frame(rip);
    for line in lines.iter().skip(place + 1).take_while(|line| !line.contains("Call Trace:")) {
        registers(line, &mut oops.registers);
    }
    if oops.place.is_none() {
        let digits = rip.split_whitespace().next()?.trim_start_matches("0x");
        oops.registers.insert("rip".to_owned(), u64::from_str_radix(digits, 16).ok()?);
    }
    oops.trace = trace(lines);
    Some(oops)
}

/// `RAX: 0000000000000000 RBX: …`, `RSP: 0018:ffff… EFLAGS: 00010246`.
fn registers(line: &str, all: &mut BTreeMap<String, u64>) {
    let words: Vec<&str> = line.split_whitespace().collect();
    for pair in words.windows(2) {
        let [name, value] = pair else { continue };
        let Some(name) = name.strip_suffix(':') else { continue };
        let general = name.len() <= 3 && name.starts_with('R') || name == "EFLAGS" || name == "CR2";
        let value = value.rsplit(':').next().unwrap_or(value);
        if let (true, Ok(value)) = (general, u64::from_str_radix(value, 16)) {
            // Debian's kernels write R08 for r8.
            let name = name.to_ascii_lowercase().replace("r0", "r");
            all.entry(name).or_insert(value);
        }
    }
}

/// The stacks that SysRq w shows: by thread.
pub fn sleeping(lines: &[&str]) -> BTreeMap<u64, Vec<Frame>> {
    let mut all = BTreeMap::new();
    let from = lines.iter().rposition(|line| line.contains("sysrq: Show Blocked State"));
    let Some(lines) = from.and_then(|from| lines.get(from..)) else { return all };
    for (at, line) in lines.iter().enumerate() {
        let Some((_, rest)) = line.trim().strip_prefix("task:").and_then(|line| line.split_once("pid:")) else {
            continue;
        };
        let Some(pid) = rest.split_whitespace().next().and_then(|word| word.parse().ok()) else { continue };
        all.insert(pid, trace(lines.get(at + 1..).unwrap_or_default()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: &str = "\
[    7.0] BUG: kernel NULL pointer dereference, address: 0000000000000050
[    7.0] Oops: 0000 [#1] PREEMPT SMP PTI
[    7.0] CPU: 1 PID: 57 Comm: null-read Tainted: G           OE      6.1.0 #1
[    7.0] RIP: 0010:trouble_read+0x5/0x10 [trouble]
[    7.0] RSP: 0018:ffffb1c2 EFLAGS: 00010246
[    7.0] RAX: 0000000000000001 RBX: 00000000000000ff R08: 0000000000000009
[    7.0] Call Trace:
[    7.0]  <TASK>
[    7.0]  ? __die+0x23/0x70
[    7.0]  trouble_do+0x12/0x34 [trouble]
[    7.0]  vfs_write+0xba/0x120
[    7.0] RIP: 0033:0x4b1234
[    7.0] RAX: 0000000000000007
[    7.0]  </TASK>
[    7.0] Modules linked in: trouble(OE)
";

    #[test]
    fn a_fault_is_read_as_it_is_printed() {
        let oops = oops(&lines(FAULT)).unwrap();
        assert_eq!((oops.cpu, oops.pid, oops.comm.as_str()), (1, 57, "null-read"));
        assert_eq!(oops.place, Some(("trouble_read".into(), 5, Some("trouble".into()))));
        let wanted = [("eflags", 0x10246), ("r8", 9), ("rax", 1), ("rbx", 0xff), ("rsp", 0xffff_b1c2)];
        assert_eq!(oops.registers, wanted.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!(oops.trace, [("trouble_do".into(), 0x12, Some("trouble".into())), ("vfs_write".into(), 0xba, None)]);
    }

    #[test]
    fn locks_are_taken_in_order() {
        let steps = steps(&lines("[ 1.0] trouble: 60 lock-ab wants mutex trouble_a ffffffffc0123000\nnoise\n"));
        assert_eq!(steps.len(), 1);
        assert_eq!((steps[0].pid, steps[0].has, steps[0].address), (60, false, 0xffff_ffff_c012_3000));
    }
}
