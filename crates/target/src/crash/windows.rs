//! Exceptions of Windows: accesses are led to the same analysis as everywhere, the others are put into words with what
//! their parameters say.
//!
//! *Trap*: `STATUS_STACK_BUFFER_OVERRUN` is mostly no overrun of a buffer: since Windows 8 it is the code of every
//! fail-fast, and its first parameter says which.

use super::fault::{self, Event};
use super::foreign::simple;
use super::instruction::AccessKind;
use super::scene::{Scene, fact, statement};
use super::windows_names::{exception, fail_fast};
use super::{Diagnosis, Evidence, finish, thrown};

/// Explains a Windows exception.
pub(crate) fn explain(scene: &Scene, code: u32, parameters: &[u64]) -> Diagnosis {
    let (name, meaning) = match exception(code) {
        Some((name, meaning)) => (name.to_owned(), meaning),
        None => (format!("exception {code:#010x}"), unknown(code)),
    };
    let mut diagnosis =
        Diagnosis { signal: Some(format!("{name} ({meaning})")), kind: "exception", ..Diagnosis::default() };
    // 32-bit addresses come sign-extended from some writers.
    let narrow: Vec<u64> = match scene.word_size() {
        4 => parameters.iter().map(|value| value & 0xffff_ffff).collect(),
        _ => parameters.to_vec(),
    };
    let parameters = narrow.as_slice();
    let shown: Vec<String> = parameters.iter().map(|value| format!("{value:#x}")).collect();
    let evidence = fact("signal", format!("{name}, code {code:#010x}, parameters [{}]", shown.join(", ")), None);
    let clause = match code {
        0xc000_0005 | 0xc000_0006 | 0x8000_0001 => access(scene, &mut diagnosis, code, parameters, evidence),
        0xc000_00fd => {
            diagnosis.kind = "stack_overflow";
            diagnosis.statements.push(statement(
                "Windows found the stack full: the program needed more than its thread has.",
                vec![evidence],
            ));
            diagnosis
                .advice
                .push("Look for the recursion that does not end, or for a very large local variable.".to_owned());
            "its stack is full".to_owned()
        }
        0xc000_0094 => simple(&mut diagnosis, "divide_by_zero", "it divided by zero", evidence),
        0xc000_0095 => simple(&mut diagnosis, "divide_overflow", "the result of a division does not fit", evidence),
        0xc000_001d => simple(&mut diagnosis, "illegal_instruction", "it ran an illegal instruction", evidence),
        0xc000_0096 => simple(
            &mut diagnosis,
            "illegal_instruction",
            "it ran an instruction that only the system may run",
            evidence,
        ),
        0x8000_0003 | 0x4000_001f => {
            simple(&mut diagnosis, "breakpoint", "it ran a breakpoint with no debugger there", evidence)
        }
        0xc000_0374 => {
            let clause = simple(&mut diagnosis, "heap_corruption", "the heap is corrupted", evidence);
            diagnosis.advice.push(
                "Windows found this later than it was done: Application Verifier or gflags' page heap finds the write."
                    .to_owned(),
            );
            clause
        }
        0xc000_0409 => fast(&mut diagnosis, parameters, evidence),
        thrown::CODE => cpp(scene, &mut diagnosis, parameters, evidence),
        0x2047_4343 => simple(&mut diagnosis, "cpp_exception", "nobody caught a C++ exception", evidence),
        0xe043_4352 | 0xe043_4f4d => dotnet(&mut diagnosis, parameters, evidence),
        0xc000_0008 => simple(&mut diagnosis, "invalid_handle", "it used an invalid handle", evidence),
        0xc000_0417 | 0xc000_000d => simple(
            &mut diagnosis,
            "invalid_parameter",
            "a function of the C runtime got an invalid parameter",
            evidence,
        ),
        0xc000_0420 => simple(&mut diagnosis, "assertion_failed", "an assertion failed", evidence),
        0xc000_0017 | 0xc000_012d | 0xe000_0008 => {
            simple(&mut diagnosis, "out_of_memory", "it found no memory", evidence)
        }
        0x4000_0015 => simple(&mut diagnosis, "abort", "it ended itself (abort)", evidence),
        0xc000_0602 | 0xc000_0421 => simple(&mut diagnosis, "abort", meaning, evidence),
        0xc000_0135 | 0xc000_0138 | 0xc000_0139 | 0xc000_0142 | 0xc000_007b | 0xc06d_007e | 0xc06d_007f => {
            let clause = simple(&mut diagnosis, "missing_library", meaning, evidence);
            diagnosis.advice.push(
                "Compare the modules here with the libraries that the program was built for; loader snaps (gflags) \
                 name the one that fails."
                    .to_owned(),
            );
            clause
        }
        0xc000_008d..=0xc000_0093 => simple(&mut diagnosis, "floating_point", meaning, evidence),
        _ => simple(&mut diagnosis, "exception", meaning, evidence),
    };
    unloaded(scene, &mut diagnosis);
    finish(scene, diagnosis, &name, meaning, &clause)
}

/// A program counter, or the caller of one that is nowhere, in a library that is gone.
fn unloaded(scene: &Scene, diagnosis: &mut Diagnosis) {
    let gone = &scene.target.dump().unloaded_modules;
    let frames = scene.stack.frames.iter().take(2).map(|frame| frame.address.lookup());
    let outside = frames.filter(|at| scene.target.module_at(*at).is_none());
    for at in outside {
        let Some(module) = gone.iter().find(|module| (module.base..module.end).contains(&at.0)) else { continue };
        let name = module.path.rsplit(['/', '\\']).next().unwrap_or(&module.path);
        let told =
            fact("region", format!("unloaded: {:#x}-{:#x} {}", module.base, module.end, module.path), Some(at.0));
        diagnosis.statements.push(statement(
            format!("{at:#x} lies where {name} had been, which was unloaded: something still called into it."),
            vec![told],
        ));
        diagnosis.advice.push(format!("Look for a callback, timer or thread of {name} that outlived it."));
        return;
    }
}

fn unknown(code: u32) -> &'static str {
    if code >> 29 & 1 == 1 { "an exception of the program's own" } else { "an exception" }
}

/// Parameter 0 is 0 for a read, 1 for a write, 8 for an attempt to run data; parameter 1 is the address; of a page that
/// could not be read back, parameter 2 is the reason.
fn access(scene: &Scene, diagnosis: &mut Diagnosis, code: u32, parameters: &[u64], evidence: Evidence) -> String {
    let access = match parameters.first() {
        Some(0) => Some(AccessKind::Read),
        Some(1) => Some(AccessKind::Write),
        _ => None,
    };
    // Folklore: for a non-canonical address the processor tells neither address nor kind of access, and Windows reports a
    // read of all ones, also for a write (Breakpad's write_av_non_canonical.dmp). The instruction knows better.
    let reported = parameters.get(1).copied().filter(|&at| at != u64::MAX);
    let access = access.filter(|_| reported.is_some());
    let execute = parameters.first() == Some(&8);
    if code == 0xc000_0006 {
        let status = parameters.get(2).map(|&status| status as u32);
        let why = match status.map(|status| (status, exception(status))) {
            Some((_, Some((name, words)))) => format!(": {name}, {words}"),
            Some((status, None)) => format!(": status {status:#010x}"),
            None => String::new(),
        };
        let at = reported.map(|at| format!(" at {at:#x}")).unwrap_or_default();
        diagnosis.kind = "io_error";
        diagnosis.fault_address = reported;
        let text = format!("The page{at} had to be read back from its file, and that failed{why}.");
        diagnosis.statements.push(statement(text, vec![evidence]));
        diagnosis.advice.push(
            "Look at the disk or network share that the program or its data lies on, not at the code.".to_owned(),
        );
        return format!("a page of a file could not be read{why}");
    }
    diagnosis.take_fault(fault::memory(scene, Event { reported, protected: None, access, execute, evidence }))
}

fn fast(diagnosis: &mut Diagnosis, parameters: &[u64], evidence: Evidence) -> String {
    // Before Windows 8 the stack cookie's check raised it without a parameter.
    let Some(&code) = parameters.first() else {
        return simple(diagnosis, "stack_smashing", "a stack cookie was overwritten", evidence);
    };
    let Some((name, kind, clause)) = fail_fast(code) else {
        return simple(diagnosis, "abort", &format!("it ended itself by fail-fast, code {code}"), evidence);
    };
    let clause = simple(diagnosis, kind, clause, evidence);
    let told = fact("signal", format!("FAST_FAIL_{name} ({code})"), None);
    diagnosis.statements.push(statement(format!("The reason given is FAST_FAIL_{name}: {clause}."), vec![told]));
    clause
}

fn cpp(scene: &Scene, diagnosis: &mut Diagnosis, parameters: &[u64], evidence: Evidence) -> String {
    let Some(found) = thrown::find(scene, parameters) else {
        return simple(diagnosis, "cpp_exception", "nobody caught a C++ exception", evidence);
    };
    // Rust's panics travel as C++ exceptions of this type (`library/panic_unwind/src/seh.rs`).
    if found.type_name == "rust_panic" {
        diagnosis.kind = "rust_panic";
        diagnosis.statements.push(statement("A Rust panic was on its way and nobody stopped it.", found.evidence));
        return "a Rust panic reached code that cannot pass it on".to_owned();
    }
    diagnosis.kind = "cpp_exception";
    diagnosis.message = found.text.clone();
    let text = found.text.as_ref().map(|text| format!(" that says \"{text}\"")).unwrap_or_default();
    let mut facts = vec![evidence];
    facts.extend(found.evidence);
    diagnosis.statements.push(statement(
        format!("It threw a C++ exception of type {}{text}, and nobody caught it.", found.type_name),
        facts,
    ));
    format!("nobody caught a C++ exception of type {}", found.type_name)
}

/// The first parameter is the HRESULT of the exception.
fn dotnet(diagnosis: &mut Diagnosis, parameters: &[u64], evidence: Evidence) -> String {
    let result = parameters.first().map(|&value| value as u32);
    let class = match result {
        Some(0x8000_4003) => "System.NullReferenceException",
        Some(0x8007_000e) => "System.OutOfMemoryException",
        Some(0x8013_1501) => "System.SystemException",
        Some(0x8013_1500) => "an exception of a class of its own (COR_E_EXCEPTION)",
        Some(0x8013_1509) => "System.InvalidOperationException",
        Some(0x8007_0057) => "System.ArgumentException",
        Some(0x8000_4002) => "System.InvalidCastException",
        Some(0x8013_1508) => "System.IndexOutOfRangeException",
        Some(0x8007_0002) => "System.IO.FileNotFoundException",
        Some(0x8013_1522) => "System.TypeLoadException",
        Some(0x8013_1534) => "System.TypeInitializationException",
        _ => return simple(diagnosis, "dotnet_exception", "nobody caught a .NET exception", evidence),
    };
    let clause = format!("nobody caught a .NET exception: {class}");
    simple(diagnosis, "dotnet_exception", &clause, evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_words_and_verdicts() {
        assert_eq!(exception(0xc000_0374).map(|(name, _)| name), Some("STATUS_HEAP_CORRUPTION"));
        assert_eq!(fail_fast(7).map(|(_, kind, _)| kind), Some("abort"));
        assert_eq!(fail_fast(9999), None);
        assert_eq!(unknown(0xe000_1234), "an exception of the program's own");
        let evidence = || fact("signal", "x", None);
        let mut diagnosis = Diagnosis::default();
        assert!(fast(&mut diagnosis, &[9999], evidence()).contains("9999"));
        fast(&mut diagnosis, &[], evidence());
        assert_eq!(diagnosis.kind, "stack_smashing");
        assert!(dotnet(&mut diagnosis, &[0x8000_4003], evidence()).contains("NullReference"));
    }
}
