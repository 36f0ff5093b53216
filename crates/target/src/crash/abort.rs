//! A program that ended itself: abort, failed assertion, panic, uncaught exception, and the checks of libc and compiler.

use super::scene::{Scene, fact, statement};
use super::{Statement, cpp, fault, message, origin, rust};

/// What came out of looking at an abort.
pub(crate) struct Abort {
    pub kind: &'static str,
    /// `an assertion failed`
    pub clause: String,
    pub statements: Vec<Statement>,
    pub advice: Vec<String>,
    pub message: Option<String>,
    /// Physical frame that is to blame, if the machinery above it is known.
    pub frame: Option<usize>,
}

/// Explains an abort.
pub(crate) fn explain(scene: &Scene) -> Abort {
    let functions = scene.functions(64);
    let on_stack = |names: &[&str]| functions.iter().find(|(_, name)| names.iter().any(|n| plain(name) == *n));
    let text = message::glibc_abort_message(scene);
    let mut abort = Abort {
        kind: "abort",
        clause: "it called abort()".to_owned(),
        statements: Vec::new(),
        advice: Vec::new(),
        message: text.clone(),
        frame: blame(scene),
    };
    let frame_fact = |name: &str| fact("frame", format!("{name} is on the stack"), None);
    if let Some(panic) = rust::find(scene) {
        abort.kind = "rust_panic";
        abort.clause = "a Rust panic ended it".to_owned();
        let at = panic.location.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
        let says = panic.message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        abort.statements.push(statement(format!("The program panicked{at}{says}."), panic.evidence));
        abort.message = panic.message.or(abort.message);
        abort.frame = panic.frame.or(abort.frame);
        return abort;
    }
    if let Some((_, name)) = functions.iter().find(|(_, name)| name.contains("stack_overflow::imp::signal_handler")) {
        // Rust's handler of SIGSEGV recognises its guard page, says so, and aborts.
        if let Some(first) = first_fault(scene) {
            abort.kind = "stack_overflow";
            abort.clause = "its stack is full".to_owned();
            abort.message = Some("a thread has overflowed its stack".to_owned());
            abort.frame = scene.stack.frames.iter().position(|frame| frame.trust == crate::Trust::SignalFrame);
            abort.statements = first.statements;
            let text =
                "Rust's own handler for this fault recognised the guard page of the stack, and ended the program.";
            abort.statements.push(statement(text, vec![frame_fact(name)]));
            abort.advice = first.advice;
            return abort;
        }
    }
    if let Some((_, name)) = functions.iter().find(|(_, name)| plain(name) == "std::__glibcxx_assert_fail") {
        abort.kind = "assertion_failed";
        abort.clause = "an assertion of the C++ library failed".to_owned();
        abort.message = library_assertion(scene, name).or(abort.message);
        let says = abort.message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        abort.statements.push(statement(
            format!("The C++ library found a condition false that it had asserted{says}."),
            vec![frame_fact(name)],
        ));
        return abort;
    }
    if let Some((_, name)) = on_stack(&["__cxa_pure_virtual", "_purecall"]) {
        abort.kind = "pure_virtual_call";
        abort.clause = "it called a pure virtual function".to_owned();
        let text = "A virtual function was called that the object does not have (yet, or any more): a call from a \
                    constructor or destructor, or on a destroyed object.";
        abort.statements.push(statement(text, vec![frame_fact(name)]));
        // What the C++ runtime writes here is fixed.
        abort.message = Some("pure virtual method called".to_owned());
        return abort;
    }
    if let Some((kind, clause)) = text.as_deref().and_then(message::classify) {
        let text = text.as_deref().unwrap_or_default();
        abort.kind = kind;
        abort.clause = message::heap_clause(text).unwrap_or(clause).to_owned();
        abort.statements.push(checked(kind, text));
        // A block freed twice is found where it happens; other damage was done earlier.
        if kind != "heap_corruption" || message::heap_clause(text).is_none() {
            abort.advice.extend(advice(kind));
        }
        return abort;
    }
    // Without symbols of libstdc++'s own functions, those that unwinding itself uses still tell.
    let terminate = [
        "std::terminate",
        "__cxxabiv1::__terminate",
        "__gnu_cxx::__verbose_terminate_handler",
        "__gxx_personality_v0",
        "__cxa_throw",
        "__cxa_call_terminate",
    ];
    if let Some((_, name)) = on_stack(&terminate) {
        let thrown = on_stack(&["__cxa_throw", "__cxa_rethrow", "_Unwind_RaiseException"]).is_some();
        let found = cpp::find(scene);
        if found.is_some() || thrown {
            abort.kind = "cpp_exception";
            // Called while unwinding, the personality routine has met a frame that no exception may leave.
            let stopped = on_stack(&["__gxx_personality_v0", "__cxa_call_terminate"]).is_some();
            let fate = if stopped { "reached a function that must not throw (noexcept)" } else { "was not caught" };
            abort.clause = match &found {
                Some(exception) => format!("a C++ exception of type {} {fate}", exception.type_name),
                None => format!("a C++ exception {fate}"),
            };
            let mut evidence = vec![frame_fact(name)];
            let text = match found {
                Some(exception) => {
                    let says = exception.text.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
                    evidence.extend(exception.evidence);
                    abort.message = exception.text.or(abort.message);
                    format!("An exception of type {} was thrown, and {fate}{says}.", exception.type_name)
                }
                None => format!("An exception was thrown, and {fate}; its type could not be found."),
            };
            abort.statements.push(statement(text, evidence));
        } else {
            abort.kind = "cpp_terminate";
            abort.clause = "std::terminate was called".to_owned();
            let destroyed = functions.iter().any(|(_, name)| name.contains("std::thread::~thread"));
            let text = if destroyed {
                "A std::thread was destroyed that had been neither joined nor detached."
            } else {
                "std::terminate ended the program, with no exception in flight."
            };
            abort.statements.push(statement(text, vec![frame_fact(name)]));
            if default_handler(scene) {
                abort.message = Some("terminate called without an active exception".to_owned());
            }
        }
        return abort;
    }
    let known: [(&[&str], &'static str, &'static str); 4] = [
        (
            &["__assert_fail", "__assert_fail_base", "__assert", "__assert_rtn"],
            "assertion_failed",
            "an assertion failed",
        ),
        (
            &["__stack_chk_fail", "__stack_smash_handler"],
            "stack_smashing",
            "a write past the end of a local variable was detected (stack smashing)",
        ),
        (
            &["__chk_fail", "__fortify_fail"],
            "buffer_overflow",
            "a copy into a buffer too small for it was stopped (buffer overflow)",
        ),
        (&["malloc_printerr"], "heap_corruption", "the heap is corrupted"),
    ];
    for (names, kind, clause) in known {
        if let Some((_, name)) = on_stack(names) {
            abort.kind = kind;
            clause.clone_into(&mut abort.clause);
            let sentence = format!("{name} ended the program: {clause}.");
            abort.statements.push(statement(sentence, vec![frame_fact(name)]));
            abort.advice.extend(advice(kind));
            return abort;
        }
    }
    if let Some(first) = first_fault(scene).filter(|first| first.address.is_some()) {
        abort.statements.push(statement(
            format!("A signal handler was running: before that, {}.", first.clause),
            vec![fact("frame", "the frames below the signal frame are those that it interrupted", None)],
        ));
        abort.statements.extend(first.statements);
    }
    if let Some((_, name)) = on_stack(&["abort", "__GI_abort"]) {
        let by = abort
            .frame
            .and_then(|frame| scene.stack.frames.get(frame))
            .map(|frame| format!(" from {}", scene.place(frame)));
        let sentence = format!("The program called abort(){}.", by.unwrap_or_default());
        abort.statements.push(statement(sentence, vec![frame_fact(name)]));
    } else {
        "it aborted".clone_into(&mut abort.clause);
    }
    abort
}

/// The fault that led into the signal handler that then aborted.
fn first_fault(scene: &Scene) -> Option<fault::Fault> {
    let interrupted = scene.interrupted()?;
    let evidence = fact("frame", "a signal handler is on the stack, above the code that it interrupted", None);
    let event = fault::Event { reported: None, protected: None, access: None, execute: false, evidence };
    Some(fault::memory(&interrupted, event))
}

/// Whether libstdc++'s own terminate handler ran, whose words are known: only its frames lie below `std::terminate`.
fn default_handler(scene: &Scene) -> bool {
    let module = |index: usize| {
        let frame = scene.stack.frames.get(index)?;
        scene.target.module_at(frame.address.lookup()).map(|module| module.name().to_owned())
    };
    let abort = scene.functions(16).into_iter().find(|(_, name)| ["abort", "__GI_abort"].contains(&plain(name)));
    abort.and_then(|(frame, _)| module(frame + 1)).is_some_and(|name| name.starts_with("libstdc++"))
}

/// `file:line: function: Assertion 'condition' failed.`, from the constants that the caller passes.
fn library_assertion(scene: &Scene, function: &str) -> Option<String> {
    let functions = scene.functions(64);
    let callee = functions.iter().find(|(_, name)| name == function)?.0;
    let argument = |position| origin::constant_argument(scene, callee + 1, position);
    let text = |position| scene.text(argument(position)?, 512);
    Some(format!("{}:{}: {}: Assertion '{}' failed.", text(0)?, argument(1)?, text(2)?, text(3)?))
}

fn checked(kind: &str, text: &str) -> Statement {
    let sentence = match kind {
        "assertion_failed" => "The program found a condition false that it had asserted".to_owned(),
        "heap_corruption" => {
            "malloc found its own bookkeeping damaged, or a pointer freed that it does not own".to_owned()
        }
        "stack_smashing" => {
            "The guard value between a function's variables and its return address was overwritten".to_owned()
        }
        _ => "A check of the C library stopped the program".to_owned(),
    };
    statement(
        format!("{sentence}: \u{201c}{text}\u{201d}."),
        vec![fact("message", format!("__abort_msg: {text}"), None)],
    )
}

fn advice(kind: &str) -> Option<String> {
    Some(
        match kind {
            "heap_corruption" => {
                "The damage was done earlier than it was found: run the program under AddressSanitizer \
                 (-fsanitize=address) or valgrind."
            }
            "stack_smashing" | "buffer_overflow" => {
                "Look at the arrays that the blamed function fills; -fsanitize=address names the very write."
            }
            _ => return None,
        }
        .to_owned(),
    )
}

/// A function's name without its arguments.
pub(crate) fn plain(name: &str) -> &str {
    name.split('(').next().unwrap_or(name)
}

/// Whether a function belongs to the ways in which libraries end a program, not to what made them do so.
pub(crate) fn is_machinery(function: &str) -> bool {
    const NAMES: [&str; 42] = [
        "raise",
        "__GI_raise",
        "gsignal",
        "abort",
        "__GI_abort",
        "pthread_kill",
        "__pthread_kill",
        "__GI___pthread_kill",
        "pthread_kill@@GLIBC_2.34",
        "__pthread_kill_implementation",
        "__pthread_kill_internal",
        "__assert_fail",
        "__assert_fail_base",
        "__GI___assert_fail",
        "__libc_message",
        "__libc_fatal",
        "malloc_printerr",
        "__stack_chk_fail",
        "__fortify_fail",
        "__GI___fortify_fail",
        "__chk_fail",
        "__GI___chk_fail",
        "_int_free",
        "_int_malloc",
        "free",
        "cfree",
        "__GI___libc_free",
        "__libc_free",
        "__strcpy_chk",
        "__memcpy_chk",
        "__strcat_chk",
        "__sprintf_chk",
        "__snprintf_chk",
        "__vsprintf_chk",
        "munmap_chunk",
        "malloc_consolidate",
        "realloc",
        "__cxa_throw",
        "__cxa_rethrow",
        "__cxa_pure_virtual",
        "operator delete",
        "operator new",
    ];
    let name = plain(function);
    NAMES.contains(&name)
        || name.starts_with("std::terminate")
        || name.starts_with("__cxxabiv1::")
        || name.starts_with("__gnu_cxx::")
        || name.starts_with("_Unwind_")
        || name.starts_with("std::__throw_")
        || name.starts_with("__kernel_")
        || name.starts_with("__gxx_personality")
        || name.starts_with("std::__glibcxx_assert_fail")
        || rust::is_machinery(function)
}

/// The first frame that neither is machinery nor lies in a runtime library or in a library's header.
fn blame(scene: &Scene) -> Option<usize> {
    scene.stack.frames.iter().position(|frame| {
        let runtime = scene.target.module_at(frame.address.lookup()).is_none_or(|module| is_runtime(module.name()));
        !runtime
            && !scene.is_library(frame)
            && scene.function(frame).is_none_or(|name| !is_machinery(&name) && !is_libc_text(&name))
    })
}

/// Whether a function is one of libc's text and memory functions in one of its variants for a processor, as they appear
/// in a static program.
pub(crate) fn is_libc_text(function: &str) -> bool {
    let variant =
        ["_avx", "_evex", "_sse", "_erms", "_unaligned", "_generic"].iter().any(|part| function.contains(part));
    let family =
        ["__mem", "__str", "__wcs", "__wmem", "__rawmem", "__st"].iter().any(|start| function.starts_with(start));
    variant && family || matches!(function, "__libc_start_call_main" | "__libc_start_main_impl" | "_start")
}

/// The first frame outside the C and C++ runtime libraries.
pub(crate) fn outside_libc(scene: &Scene) -> Option<usize> {
    scene.stack.frames.iter().position(|frame| {
        let own = scene.target.module_at(frame.address.lookup()).is_some_and(|module| !is_runtime(module.name()));
        own && !scene.is_library(frame) && scene.function(frame).is_none_or(|name| !is_libc_text(&name))
    })
}

/// Whether a module is a runtime library, by its name.
pub(crate) fn is_runtime(module: &str) -> bool {
    const NAMES: [&str; 27] = [
        "libc.so",
        "libc-2",
        "libpthread",
        "libstdc++",
        "libgcc_s",
        "ld-linux",
        "ld-2",
        "ld-musl",
        "libm.so",
        "libc++",
        "linux-vdso",
        "linux-gate",
        "[vdso]",
        "libsystem_",
        "libdyld",
        "libobjc",
        "dyld",
        "ntdll.",
        "kernel32.",
        "kernelbase.",
        "ucrtbase.",
        "ucrtbased.",
        "msvcrt",
        "vcruntime",
        "msvcp",
        "wow64",
        "libdispatch",
    ];
    let module = module.to_ascii_lowercase();
    NAMES.iter().any(|name| module.starts_with(name))
}
