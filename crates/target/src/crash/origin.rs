//! Where a bad register value came from: walking back through the straight line of the function up to the crash.
//!
//! *What it is not*: a data-flow analysis. Jumps are not followed; so a step is told only where the dump confirms it:
//! the memory it names still holds the value, or nothing in the function so far writes the register.
//!
//! *Example*: `mov rax, [rbp-0x8]` before `mov eax, [rax]` with rax = 0: "rax was loaded from [rbp-0x8], which is 0".

use super::Statement;
use super::instruction::{self, Instruction, Origin, Place};
use super::scene::{Scene, fact, statement};
use crate::stack::Frame;

/// Longest stretch of code that is walked.
const MAX_CODE: u64 = 16 << 10;
/// Steps back that are told.
const MAX_STEPS: usize = 4;

/// Tells where the value in `slot` came from, as far as it can be confirmed.
pub(crate) fn trace(scene: &Scene, slot: usize) -> Vec<Statement> {
    let Some(walk) = walk(scene) else { return Vec::new() };
    let mut steps = Vec::new();
    let mut wanted = slot;
    let mut before = walk.code.len();
    while steps.len() < MAX_STEPS {
        let Some(value) = scene.registers.get(slot) else { break };
        let name = scene.register_name(wanted);
        let writer = walk.code.iter().take(before).rposition(|one| writes(scene, one, wanted));
        let Some(index) = writer else {
            steps.extend(argument(scene, &walk, wanted, value));
            break;
        };
        let Some(one) = walk.code.get(index) else { break };
        // A jump that lands behind the writer could have come by another way, with another value.
        if jumped_into(&walk, one.address, scene_pc(scene)) {
            break;
        }
        let instruction_fact = fact("instruction", format!("{:#x}: {}", one.address, one.text), Some(one.address));
        let moves = one.moves.filter(|(target, _)| *target == wanted);
        match moves.map(|(_, origin)| origin) {
            Some(Origin::Constant(constant)) if constant == value => {
                let text = format!("{name} was set to {value:#x} by `{}` just before.", one.text);
                steps.push(statement(text, vec![instruction_fact]));
                break;
            }
            Some(Origin::Register(source)) => {
                wanted = source;
                before = index;
            }
            Some(Origin::Call(target)) => {
                // Between the call and here nothing else wrote the register, so the value is the call's result.
                let callee = target.and_then(|target| callee(scene, target));
                let text = match callee {
                    Some(callee) => format!("{name} holds what the call to {callee} returned: {value:#x}."),
                    None => format!("{name} holds what the call just before returned: {value:#x}."),
                };
                steps.push(statement(text, vec![instruction_fact]));
                break;
            }
            Some(Origin::Memory(place)) => {
                let Some(step) = loaded(scene, &walk, index, place, value, name) else { break };
                steps.push(step.0);
                match step.1 {
                    Some((source, at)) => {
                        wanted = source;
                        before = at;
                    }
                    None => break,
                }
            }
            _ => break,
        }
    }
    steps
}

fn scene_pc(scene: &Scene) -> u64 {
    scene.pc().unwrap_or_default()
}

/// Whether some jump of the function, as far as it was decoded, lands behind `writer` and not behind the crash.
fn jumped_into(walk: &Walk, writer: u64, pc: u64) -> bool {
    walk.code.iter().any(|one| match one.effect {
        instruction::Effect::Branch { call: false, target: Some(target) } => target > writer && target <= pc,
        _ => false,
    })
}

struct Walk {
    code: Vec<Instruction>,
    function: String,
}

/// The argument in position `position` of the call that a frame was making, if the code fixes it: the address of a text,
/// a number.
pub(crate) fn constant_argument(scene: &Scene, frame: usize, position: usize) -> Option<u64> {
    let frame = scene.stack.frames.get(frame)?;
    let name = instruction::argument_slots(scene.registers.arch()).get(position)?;
    let slot = scene.registers.arch().info().slot(name)?;
    let walk = walk_to(scene, frame, frame.address.address().0)?;
    let before = walk.code.len().checked_sub(1)?;
    let index = walk.code.iter().take(before).rposition(|one| writes(scene, one, slot))?;
    match walk.code.get(index)?.moves {
        Some((target, Origin::Constant(value))) if target == slot => Some(value),
        _ => None,
    }
}

/// Decodes the function from its first instruction up to (not including) the faulting one.
fn walk(scene: &Scene) -> Option<Walk> {
    walk_to(scene, scene.stack.frames.first()?, scene.pc()?)
}

fn walk_to(scene: &Scene, frame: &Frame, pc: u64) -> Option<Walk> {
    let places = scene.target.locate(frame.address);
    let outermost = places.last()?;
    let start = frame.address.address().0.checked_sub(outermost.offset?)?;
    if start > pc {
        return None;
    }
    if pc - start > MAX_CODE {
        return None;
    }
    let mut code = Vec::new();
    let mut at = start;
    while at < pc {
        let one = scene.decode(at, &scene.registers)?;
        at = at.checked_add(one.length)?;
        code.push(one);
    }
    // Instructions that do not end exactly at the program counter were decoded from a wrong start.
    (at == pc).then_some(Walk { code, function: outermost.function.clone()? })
}

/// Whether an instruction changes a register, calls included.
fn writes(scene: &Scene, one: &Instruction, slot: usize) -> bool {
    let arch = scene.registers.arch();
    one.writes.contains(&slot)
        || matches!(one.effect, instruction::Effect::Branch { call: true, .. })
            && instruction::lost_by_a_call(arch, slot)
}

/// A register that nothing has written is still what the caller passed.
fn argument(scene: &Scene, walk: &Walk, slot: usize, value: u64) -> Option<Statement> {
    let name = scene.register_name(slot);
    // The register still holds what the function was given. If that is another value, the one in question came from
    // somewhere else: a loop has replaced the copy of the argument.
    if scene.registers.get(slot) != Some(value) {
        return None;
    }
    let position = instruction::argument_slots(scene.registers.arch()).iter().position(|&n| n == name)?;
    let frame = scene.stack.frames.first()?;
    let inlined = scene.target.locate(frame.address).len() > 1;
    let caller = scene.stack.frames.get(1).map(|caller| format!(", called by {}", scene.place(caller)));
    let caller = caller.unwrap_or_default();
    let ordinal = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"].get(position)?;
    let text = format!("{value:#x} is the {ordinal} argument ({name}) that {} was given{caller}.", walk.function);
    let mut evidence =
        vec![fact("instruction", format!("no instruction of {} before the crash writes {name}", walk.function), None)];
    if inlined {
        evidence.push(fact("frame", "the functions inlined into it were taken along", None));
    }
    evidence.extend(scene.register_fact(slot));
    Some(statement(text, evidence))
}

fn callee(scene: &Scene, target: u64) -> Option<String> {
    let places = scene.target.locate(afterimage_dump::CodeAddr::Exact(afterimage_dump::Virt(target)));
    places.last()?.function.clone()
}

/// Where a stored value came from: the register's slot, and the instruction before which it held the value.
type StoredFrom = Option<(usize, usize)>;

/// A value loaded from memory: told only if its address can still be worked out and the value is still there.
fn loaded(
    scene: &Scene,
    walk: &Walk,
    index: usize,
    place: Place,
    value: u64,
    name: &str,
) -> Option<(Statement, StoredFrom)> {
    let after = walk.code.get(index + 1..)?;
    let loader = walk.code.get(index)?;
    // The load itself may overwrite its own base (`mov rax, [rax]`): then the address is lost.
    let changed = |slot: usize| loader.writes.contains(&slot) || after.iter().any(|one| writes(scene, one, slot));
    if place.slots().any(changed) {
        return None;
    }
    let address = place.address(&scene.registers)?;
    let size = loader.accesses.first().map_or(0, |access| access.size as usize);
    if size == 0 || size > 8 || scene.uint(address, size)? != value {
        return None;
    }
    let mut evidence = vec![
        fact("instruction", format!("{:#x}: {}", loader.address, loader.text), Some(loader.address)),
        fact("memory", format!("the {size} bytes at {address:#x} are {value:#x}"), Some(address)),
    ];
    let mut stores = walk.code.iter().take(index).enumerate().filter_map(|(at, one)| {
        let (target, slot) = one.stores?;
        (target == place).then_some((slot, at))
    });
    // Two stores to one place: which of them was the last cannot be told without following jumps.
    let stored = stores.next().filter(|_| stores.next().is_none());
    let stack = scene.registers.sp().is_some_and(|sp| address >= sp.0 && address - sp.0 < 1 << 20);
    let what = if stack { "the local variable" } else { "memory" };
    let text = format!("{name} was loaded from {what} at {address:#x} by `{}`; it holds {value:#x}.", loader.text);
    if let Some((_, at)) = stored
        && let Some(one) = walk.code.get(at)
    {
        evidence.push(fact("instruction", format!("{:#x}: {}", one.address, one.text), Some(one.address)));
    }
    Some((statement(text, evidence), stored))
}
