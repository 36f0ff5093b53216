//! Invalid memory accesses: which address, why it is bad, what kind of access, and which register carried it there.
//!
//! *Trap*: x86 reports no address for a non-canonical one (`si_addr` is 0, code `SI_KERNEL`); it is worked out from the
//! instruction instead. And a fault at the program counter itself is a jump, not a read.

use super::instruction::{Access, AccessKind, Effect, Instruction};
use super::scene::{Scene, fact, region_words, statement};
use super::{Evidence, Statement, origin};
use afterimage_dump::{Absence, Arch, CodeAddr, Region, Virt};

/// Below this address Linux maps nothing by default (`vm.mmap_min_addr`); an access there is a null pointer plus an
/// offset.
pub(crate) const NULL_AREA: u64 = 0x1_0000;
/// How far below the stack pointer a function may probe or push before that counts as "at the stack pointer".
const STACK_REACH: u64 = 1 << 20;

/// Local variables larger than this are taken for a wild stack pointer instead.
const LARGEST_FRAME: u64 = 1 << 32;

/// What came out of looking at a fault.
pub(crate) struct Fault {
    pub kind: &'static str,
    /// `it read 4 bytes at 0x10, a null pointer plus 16`
    pub clause: String,
    pub statements: Vec<Statement>,
    pub advice: Vec<String>,
    pub address: Option<u64>,
    pub instruction: Option<String>,
}

/// What is known of the event.
pub(crate) struct Event {
    /// The address that the system reported.
    pub reported: Option<u64>,
    /// Whether the system says that the page exists but forbids the access; `None` if it does not say.
    pub protected: Option<bool>,
    /// The access, where the system itself tells it (Windows).
    pub access: Option<AccessKind>,
    /// Whether the system says that it tried to run the address.
    pub execute: bool,
    /// How the system put it, as evidence.
    pub evidence: Evidence,
}

/// Explains an invalid access.
pub(crate) fn memory(scene: &Scene, event: Event) -> Fault {
    let pc = scene.pc();
    let decoded = pc.and_then(|pc| scene.decode(pc, &scene.registers));
    if event.execute || is_jump(scene, &event, pc) {
        return jump(scene, &event, pc);
    }
    if let Some(one) = &decoded {
        if one.effect == Effect::Privileged {
            return privileged(&event, one);
        }
        if let Some(fault) = bad_return(scene, &event, one) {
            return fault;
        }
    }
    let access = decoded.as_ref().and_then(|one| faulting_access(scene, one, event.reported));
    let computed = access.and_then(|access| access.place.address(&scene.registers));
    // The reported address is the processor's own word, but a general-protection fault reports none (as zero).
    let reported = event.reported.filter(|&at| at != 0 || computed == Some(0) || computed.is_none());
    let noncanonical = computed.filter(|&at| !canonical(scene, at));
    let address = noncanonical.or(reported).or(computed);
    let mut fault = Fault {
        kind: "wild_read",
        clause: String::new(),
        statements: Vec::new(),
        advice: Vec::new(),
        address,
        instruction: decoded.as_ref().map(|one| one.text.clone()),
    };
    let kind = event.access.or(access.map(|access| access.kind));
    let (did, noun) = match kind {
        Some(AccessKind::Write | AccessKind::ReadWrite) => ("wrote", "write"),
        Some(AccessKind::Read) => ("read", "read"),
        None => ("touched memory", "access"),
    };
    let size = access.filter(|access| access.size > 0).map(|access| match access.size {
        1 => " 1 byte".to_owned(),
        size => format!(" {size} bytes"),
    });
    let did = if kind.is_some() { format!("{did}{}", size.clone().unwrap_or_default()) } else { did.to_owned() };
    let write = noun == "write";
    let Some(at) = address else {
        fault.clause = "it touched memory at an address that the dump does not tell".to_owned();
        fault.statements.push(statement(
            "The processor stopped the program for an invalid access, but the dump tells no address for it.",
            vec![event.evidence],
        ));
        return fault;
    };
    let mut evidence = vec![event.evidence.clone()];
    if let (Some(one), Some(access)) = (&decoded, access) {
        evidence.push(fact("instruction", format!("{:#x}: {}", one.address, one.text), Some(one.address)));
        evidence.extend(access.place.slots().filter_map(|slot| scene.register_fact(slot)));
    }
    if let Some(overflow) = stack_overflow(scene, at, &evidence) {
        fault.kind = "stack_overflow";
        fault.clause = "its stack is full".to_owned();
        fault.statements.extend(overflow);
        fault.advice.push(
            "Look for the recursion that does not end, or for a very large local variable. The main thread's stack size is \
             set by `ulimit -s`, another thread's by whoever creates it."
                .to_owned(),
        );
        return fault;
    }
    let base_is_null =
        access.is_some_and(|access| access.place.slots().any(|slot| scene.registers.get(slot) == Some(0)));
    let (kind, where_, why) = classify(scene, base_is_null, at, write, event.protected, noncanonical.is_some());
    fault.kind = kind;
    fault.clause = format!("it {did} at {where_}");
    let misaligned = decoded.as_ref().zip(access).and_then(|(one, access)| misaligned(scene, one, access, at, &event));
    let (kind, why) = match misaligned {
        Some(why) => ("misaligned", Some(why)),
        None => (kind, why),
    };
    fault.kind = kind;
    let through = decoded.as_ref().zip(access).map(|(one, access)| through(scene, one, access, at)).unwrap_or_default();
    let upper = did.replacen("read", "reads", 1).replacen("wrote", "writes", 1).replacen("touched", "touches", 1);
    let first = match &decoded {
        Some(one) => format!("The instruction `{}` {upper} at {at:#x}{through}.", one.text),
        None => format!("It {did} at {at:#x}; the dump does not hold the instruction."),
    };
    fault.statements.push(statement(first, evidence.clone()));
    if let Some((why, facts)) = why {
        fault.statements.push(statement(why, if facts.is_empty() { vec![event.evidence] } else { facts }));
    }
    if let Some(slot) = access.and_then(|access| bad_register(scene, access, at)) {
        fault.statements.extend(origin::trace(scene, slot));
    }
    fault.statements.extend(poison(scene, access));
    fault
}

/// An instruction that only the kernel may run: x86 reports it as a general-protection fault.
fn privileged(event: &Event, one: &Instruction) -> Fault {
    let text = format!("`{}` may be run by the kernel only; the processor refused it.", one.text);
    let facts = vec![
        event.evidence.clone(),
        fact("instruction", format!("{:#x}: {}", one.address, one.text), Some(one.address)),
    ];
    Fault {
        kind: "illegal_instruction",
        clause: "it ran an instruction that only the kernel may run".to_owned(),
        statements: vec![statement(text, facts)],
        advice: Vec::new(),
        address: None,
        instruction: Some(one.text.clone()),
    }
}

/// A return to an address that no processor can address: the return address on the stack was overwritten.
fn bad_return(scene: &Scene, event: &Event, one: &Instruction) -> Option<Fault> {
    if one.effect != Effect::Return {
        return None;
    }
    let sp = scene.registers.sp()?.0;
    let target = scene.word(sp).filter(|&target| !canonical(scene, target))?;
    let mut facts = vec![
        event.evidence.clone(),
        fact("instruction", format!("{:#x}: {}", one.address, one.text), Some(one.address)),
        fact("memory", format!("the return address at {sp:#x} is {target:#x}"), Some(sp)),
    ];
    facts.extend(text_fact(scene, target));
    let text = format!(
        "The function was about to return to {target:#x}, which is no address: its return address on the stack has been \
         overwritten, as by a write past the end of a local array."
    );
    let mut advice = Vec::new();
    if let Some(text) = text_fact(scene, target) {
        advice.push(format!("Look where that text comes from ({}).", text.text));
    }
    advice.push("Build with -fstack-protector-strong or -fsanitize=address to see the write itself.".to_owned());
    Some(Fault {
        kind: "noncanonical",
        clause: format!("its return address on the stack is overwritten ({target:#x})"),
        statements: vec![statement(text, facts)],
        advice,
        address: Some(target),
        instruction: Some(one.text.clone()),
    })
}

/// Whether an address is one that a 64-bit x86 or Arm processor could translate at all.
fn canonical(scene: &Scene, at: u64) -> bool {
    match scene.registers.arch() {
        // With 5-level page tables bits 56.. must agree; a program on Linux gets those addresses only if it asks.
        Arch::X86_64 => matches!(at >> 47, 0 | 0x1_ffff),
        _ => true,
    }
}

/// Whether the fault is of fetching the instruction itself.
fn is_jump(scene: &Scene, event: &Event, pc: Option<u64>) -> bool {
    let Some(pc) = pc else { return false };
    let unreadable = scene.uint(pc, 1).is_none();
    let no_code = scene.region(pc).and_then(|region| region.permissions).is_some_and(|p| !p.execute);
    let same = event.reported == Some(pc);
    let known = scene.target.module_at(Virt(pc)).is_some();
    same && (no_code || unreadable && !known) || pc < NULL_AREA && unreadable || !canonical(scene, pc)
}

/// A jump into nowhere, into data, or to null.
fn jump(scene: &Scene, event: &Event, pc: Option<u64>) -> Fault {
    let at = pc.or(event.reported).unwrap_or_default();
    let caller = scene.stack.frames.get(1);
    let mut evidence = vec![event.evidence.clone(), fact("register", format!("program counter = {at:#x}"), Some(at))];
    evidence.extend(scene.region(at).map(|region| fact("region", region_words(region), Some(region.start.0))));
    let (kind, clause) = if at < NULL_AREA {
        (
            "null_call",
            if at == 0 {
                "it called a null function pointer".to_owned()
            } else {
                format!("it jumped to {at:#x}, a null pointer plus {at}")
            },
        )
    } else if !canonical(scene, at) {
        ("wild_jump", format!("it jumped to {at:#x}, which no processor can address"))
    } else if scene.region(at).is_none() && scene.target.dump().memory.elsewhere() != Absence::NotMapped {
        ("wild_jump", format!("it jumped to {at:#x}, where there is no code"))
    } else if scene.region(at).is_some() {
        let what = scene.region(at).map(|region| data_words(scene, region, at)).unwrap_or_default();
        ("execute_data", format!("it jumped into {what} at {at:#x}"))
    } else {
        ("wild_jump", format!("it jumped to {at:#x}, where nothing is mapped"))
    };
    let mut statements = Vec::new();
    let by = caller.map(|caller| format!(" The call was made by {}.", scene.place(caller))).unwrap_or_default();
    let because = match kind {
        "null_call" => "There is no code at a null pointer",
        "execute_data" => "That memory may not be executed",
        _ => "There is no code there",
    };
    statements.push(statement(format!("{because}: the program counter itself is {at:#x}.{by}"), evidence));
    // The caller's own instruction tells which register or table the bad target came from.
    if let Some(caller) = caller
        && let CodeAddr::Return(back) = caller.address
        && let Some((one, text)) = call_before(scene, back.0, &caller.registers)
    {
        statements.push(statement(
            text,
            vec![fact("instruction", format!("{:#x}: {}", one.address, one.text), Some(one.address))],
        ));
    }
    let advice = match kind {
        "null_call" => vec!["See why the function pointer (or the object behind it) was never set.".to_owned()],
        _ => vec![
            "A function pointer, virtual table or return address was overwritten, or belongs to something freed."
                .to_owned(),
        ],
    };
    Fault { kind, clause, statements, advice, address: Some(at), instruction: None }
}

fn data_words(scene: &Scene, region: &Region, at: u64) -> String {
    let stack = scene.registers.sp().and_then(|sp| scene.region(sp.0)).is_some_and(|stack| stack.start == region.start);
    match (&region.path, stack) {
        (_, true) => "the stack".to_owned(),
        (Some(path), _) => format!("data of {path}"),
        (None, _) => {
            let _ = at;
            "data (anonymous memory)".to_owned()
        }
    }
}

/// The call instruction that ends at a return address.
fn call_before(scene: &Scene, back: u64, registers: &afterimage_dump::Registers) -> Option<(Instruction, String)> {
    let lengths: &[u64] =
        if matches!(scene.registers.arch(), Arch::X86 | Arch::X86_64) { &[2, 3, 4, 5, 6, 7, 8] } else { &[4] };
    let mut found = lengths.iter().filter_map(|&length| {
        let one = scene.decode(back.checked_sub(length)?, registers)?;
        (one.length == length && matches!(one.effect, Effect::Branch { call: true, .. })).then_some(one)
    });
    let one = found.next()?;
    let text = match one.effect {
        Effect::Branch { target: Some(_), .. } => return None,
        _ => format!("It was called by `{}`, which takes its target from a register or from memory.", one.text),
    };
    Some((one, text))
}

/// The operand whose access failed: the one whose address is reported, or the only one.
fn faulting_access(scene: &Scene, one: &Instruction, reported: Option<u64>) -> Option<Access> {
    let at = |access: &&Access| access.place.address(&scene.registers);
    let near = |access: &&Access| {
        let (Some(at), Some(reported)) = (at(access), reported) else { return false };
        reported.wrapping_sub(at) < u64::from(access.size.max(1))
    };
    let odd = |access: &&Access| at(access).is_some_and(|at| !canonical(scene, at));
    let all = &one.accesses;
    all.iter()
        .find(near)
        .or_else(|| all.iter().find(odd))
        .or_else(|| if all.len() == 1 { all.first() } else { None })
        .copied()
}

/// `, because rdi is 0` — how the registers make the address.
fn through(scene: &Scene, one: &Instruction, access: Access, at: u64) -> String {
    let _ = one;
    let name = |slot| scene.register_name(slot);
    let value = |slot: usize| scene.registers.get(slot).map_or("unknown".to_owned(), |value| format!("{value:#x}"));
    match (access.place.base, access.place.index) {
        (Some(base), None) => format!("; {} is {}", name(base), value(base)),
        (Some(base), Some(index)) => {
            format!("; {} is {} and {} is {}", name(base), value(base), name(index), value(index))
        }
        (None, Some(index)) => format!("; {} is {}", name(index), value(index)),
        (None, None) if at == access.place.fixed => "; the address is fixed in the code".to_owned(),
        (None, None) => String::new(),
    }
}

/// The register that carries the bad part of the address: the base unless the index is the odd one.
fn bad_register(scene: &Scene, access: Access, at: u64) -> Option<usize> {
    let value = |slot: Option<usize>| slot.and_then(|slot| scene.registers.get(slot));
    let base_is_fine = value(access.place.base).is_some_and(|base| scene.region(base).is_some());
    let _ = at;
    match access.place.index {
        Some(index) if base_is_fine || access.place.base.is_none() => Some(index),
        _ => access.place.base,
    }
}

/// A wide access that demands an aligned address, to memory that is there: x86 reports it as a protection fault.
fn misaligned(
    scene: &Scene,
    one: &Instruction,
    access: Access,
    at: u64,
    event: &Event,
) -> Option<(String, Vec<Evidence>)> {
    let demands = ["movaps", "movapd", "movdqa", "movntdq", "movntps", "movntpd", "vmovaps", "vmovapd", "vmovdqa"];
    let size = u64::from(access.size);
    let applies = size >= 16
        && !at.is_multiple_of(size)
        && event.protected.is_none()
        && demands.iter().any(|name| one.text.starts_with(name));
    let region = scene.region(at).filter(|_| applies)?;
    region.permissions.filter(|permissions| permissions.read)?;
    let text =
        format!("The address is not a multiple of {size}, which this instruction demands; the memory itself is there.");
    Some((text, vec![fact("region", region_words(region), Some(region.start.0))]))
}

type Reason = Option<(String, Vec<Evidence>)>;

/// The verdict's name, the address in words, and why it is bad.
fn classify(
    scene: &Scene,
    base_is_null: bool,
    at: u64,
    write: bool,
    protected: Option<bool>,
    noncanonical: bool,
) -> (&'static str, String, Reason) {
    let pick = |read: &'static str, wrote: &'static str| if write { wrote } else { read };
    if noncanonical {
        let why = format!(
            "{at:#x} is no address at all on this processor: its upper bits are neither all zero nor all one, which \
             means that the pointer is overwritten, freed, or was never a pointer."
        );
        return (
            "noncanonical",
            format!("{at:#x}, which is no valid address"),
            Some((why, text_fact(scene, at).into_iter().collect())),
        );
    }
    if at < NULL_AREA {
        let words = if at == 0 { "a null pointer".to_owned() } else { format!("{at:#x}, a null pointer plus {at}") };
        let why = (at != 0).then(|| (small_address(base_is_null, at), Vec::new()));
        return (pick("null_read", "null_write"), words, why);
    }
    let Some(region) = scene.region(at) else {
        let facts: Vec<Evidence> = text_fact(scene, at).into_iter().collect();
        let spelled = facts.first().map(|fact| format!(" It is no pointer at all but text: {}.", fact.text));
        // A small dump lists only the memory that it holds: what it does not list may have been mapped all the same.
        if protected != Some(false) && scene.target.dump().memory.elsewhere() != Absence::NotMapped {
            let why = spelled.map(|spelled| (spelled.trim_start().to_owned(), facts));
            return (pick("wild_read", "wild_write"), format!("{at:#x}, which it could not use"), why);
        }
        let text = format!("Nothing was mapped at {at:#x}{}.{}", neighbours(scene, at), spelled.unwrap_or_default());
        return (pick("wild_read", "wild_write"), format!("{at:#x}, where nothing is mapped"), Some((text, facts)));
    };
    let facts = vec![fact("region", region_words(region), Some(region.start.0))];
    let name = region.path.as_deref().map(|path| format!(" of {path}")).unwrap_or_default();
    match region.permissions {
        Some(permissions) if !permissions.read && !permissions.write && !permissions.execute => {
            let why = format!(
                "The memory at {at:#x} may not be touched at all: it is a guard page, or mprotect or mmap made it so."
            );
            ("guard_page", format!("{at:#x}, memory that may not be accessed"), Some((why, facts)))
        }
        Some(permissions) if write && !permissions.write => {
            let why = format!("The memory at {at:#x}{name} is read-only.");
            ("write_to_readonly", format!("{at:#x}, which is read-only"), Some((why, facts)))
        }
        _ if protected == Some(false) => {
            let why = format!(
                "The kernel found nothing mapped at {at:#x} when it happened; what the dump shows there came later."
            );
            (pick("wild_read", "wild_write"), format!("{at:#x}"), Some((why, facts)))
        }
        _ => (pick("wild_read", "wild_write"), format!("{at:#x}"), None),
    }
}

/// What an address below [`NULL_AREA`] means: certain only if one of the registers that make it is zero.
fn small_address(base_is_null: bool, at: u64) -> String {
    if base_is_null {
        format!("That is a null pointer to a structure or array, plus the {at} bytes to the member or element.")
    } else {
        format!(
            "Nothing is ever mapped that low: it is probably a null pointer plus {at}, or a number that was taken for a \
             pointer."
        )
    }
}

/// Where the next mapped memory is, if it is near enough to matter.
fn neighbours(scene: &Scene, at: u64) -> String {
    let regions = &scene.target.dump().regions;
    let next = regions.partition_point(|region| region.start.0 <= at);
    let before = next.checked_sub(1).and_then(|i| regions.get(i));
    let name = |region: &Region| region.path.clone().unwrap_or_else(|| "anonymous memory".to_owned());
    let near = 1 << 20;
    if let Some(before) = before.filter(|before| at - before.end.0 < near) {
        return format!("; it is {} bytes behind the end of {}", at - before.end.0, name(before));
    }
    if let Some(after) = regions.get(next).filter(|after| after.start.0 - at < near) {
        return format!("; it is {} bytes before the start of {}", after.start.0 - at, name(after));
    }
    String::new()
}

/// An address that is really text: all bytes of a pointer are printable.
fn text_fact(scene: &Scene, at: u64) -> Option<Evidence> {
    let endian = scene.target.dump().endian;
    let mut bytes = at.to_le_bytes().to_vec();
    bytes.truncate(scene.word_size() as usize);
    if endian == afterimage_dump::Endian::Big {
        bytes.reverse();
    }
    let text = bytes.iter().all(|b| (0x20..0x7f).contains(b));
    text.then(|| fact("memory", format!("its bytes spell {:?}", String::from_utf8_lossy(&bytes)), Some(at)))
}

/// Fill patterns that allocators write into freed or fresh memory.
fn poison(scene: &Scene, access: Option<Access>) -> Option<Statement> {
    const PATTERNS: [(u8, &str); 6] = [
        (0x5a, "jemalloc writes into freed memory"),
        (0xe5, "Firefox's allocator writes into freed memory"),
        (0xdd, "Windows' debug heap writes into freed memory"),
        (0xcd, "Windows' debug heap writes into fresh memory"),
        (0xa5, "jemalloc writes into fresh memory"),
        (0xfe, "some allocators write into freed memory"),
    ];
    let slot = access?.place.base?;
    let value = scene.registers.get(slot)?;
    let bytes = value.to_le_bytes();
    let first = *bytes.first()?;
    let (_, who) = PATTERNS.iter().find(|(byte, _)| *byte == first)?;
    if !bytes.iter().take(scene.word_size() as usize).all(|b| *b == first) {
        return None;
    }
    let text = format!(
        "{} is {value:#x}: the pattern that {who}, so the pointer was probably read out of such memory.",
        scene.register_name(slot)
    );
    Some(statement(text, scene.register_fact(slot).into_iter().collect()))
}

/// The stack is full: the access is at the stack pointer, and below the memory that the frames above lie in.
fn stack_overflow(scene: &Scene, at: u64, evidence: &[Evidence]) -> Option<Vec<Statement>> {
    let sp = scene.registers.sp()?.0;
    if at.abs_diff(sp) > STACK_REACH || at > sp.saturating_add(0x1_0000) {
        return None;
    }
    let dump = scene.target.dump();
    let usable = |region: &Region| region.permissions.is_none_or(|permissions| permissions.write);
    if scene.region(at).is_some_and(usable) {
        return None;
    }
    // The memory in use lies above, and holds frames of this very stack; far above, if the locals are that large.
    let next = dump.regions.partition_point(|region| region.start.0 <= at);
    let stack = dump.regions.iter().skip(next).find(|region| usable(region))?;
    if stack.start.0 - at > LARGEST_FRAME {
        return None;
    }
    let holds_frames = scene
        .stack
        .frames
        .iter()
        .take(64)
        .any(|frame| frame.cfa.is_some_and(|cfa| cfa > stack.start && cfa <= stack.end));
    if !holds_frames {
        return None;
    }
    let size = (stack.end.0 - stack.start.0) >> 10;
    let mut facts = evidence.to_vec();
    facts.push(fact("register", format!("stack pointer = {sp:#x}"), Some(sp)));
    facts.push(fact("region", region_words(stack), Some(stack.start.0)));
    let mut statements = vec![statement(
        format!(
            "The stack is full: it holds {size} KiB, begins at {:#x}, and the program needed memory below it, at {at:#x}.",
            stack.start.0
        ),
        facts,
    )];
    let beyond = stack.start.0 - at;
    if beyond > STACK_REACH {
        let function =
            scene.stack.frames.first().map(|frame| format!(" of {}", scene.place(frame))).unwrap_or_default();
        let text = format!(
            "The stack pointer is {} KiB below the stack: the local variables{function} do not fit.",
            beyond >> 10
        );
        statements.push(statement(text, vec![fact("register", format!("stack pointer = {sp:#x}"), Some(sp))]));
    }
    statements.extend(recursion(scene));
    Some(statements)
}

/// The function that calls itself, or those that call each other, if they fill the stack.
fn recursion(scene: &Scene) -> Option<Statement> {
    let frames = &scene.stack.frames;
    let mut counts: Vec<(u64, usize)> = Vec::new();
    for frame in frames.iter().take(4096) {
        let at = frame.address.address().0;
        if let Some((_, count)) = counts.iter_mut().find(|(address, _)| *address == at) {
            *count += 1;
        } else if counts.len() < 64 {
            counts.push((at, 1));
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max().filter(|&most| most >= 16)?;
    let mut functions: Vec<String> = Vec::new();
    let mut evidence = Vec::new();
    for (address, _) in counts.iter().filter(|(_, count)| *count > most / 2).take(6) {
        let frame = frames.iter().find(|frame| frame.address.address().0 == *address)?;
        let place = scene.place(frame);
        if !functions.contains(&place) {
            functions.push(place);
        }
        evidence.push(fact(
            "frame",
            format!("frames of the stack return to {address:#x} again and again"),
            Some(*address),
        ));
    }
    // The innermost and outermost frames are kept; those between are counted.
    let hidden = scene.stack.omitted.map_or(0, |omitted| omitted.frames);
    let total = frames.len() as u64 + hidden;
    let at_least = if scene.stack.end == crate::StackEnd::Outermost { "" } else { "more than " };
    let who = match functions.as_slice() {
        [one] => format!("{one} calls itself again and again"),
        [rest @ .., last] => format!("{} and {last} call each other again and again", rest.join(", ")),
        [] => return None,
    };
    Some(statement(format!("{who}: {at_least}{total} frames are on the stack."), evidence))
}
