//! The knowledge is whole, and a built dump and the real one are explained.

use super::describe::How;
use super::*;
use crate::{Options, Target};
use afterimage_dump::{Budget, open, open_source};
use afterimage_testkit::build_windows_dump::{Machine, Triage};
use std::path::Path;
use std::sync::Arc;

fn target(bytes: Vec<u8>) -> Target {
    let dump = open_source(Path::new("MEMORY.DMP"), Arc::new(bytes), &Budget::default()).unwrap();
    Target::new(dump, Options::default(), Budget::default())
}

#[test]
fn knowledge_is_in_order_and_has_names() {
    let all: Vec<_> = knowledge::ALL.iter().chain(more_knowledge::ALL).collect();
    assert!(all.len() >= 60);
    assert!(all.windows(2).all(|pair| pair[0].code < pair[1].code));
    for entry in all {
        assert!(name(entry.code).is_some(), "{:#x}", entry.code);
        assert!(entry.meaning.ends_with('.') && entry.causes.ends_with('.'), "{:#x}", entry.code);
        for (role, how) in entry.parameters {
            assert!(!role.is_empty() || how == How::Reserved, "{:#x}", entry.code);
        }
    }
}

#[test]
fn a_driver_at_a_raised_level_is_named() {
    let target = target(Machine::x64().complete());
    let stop = target.dump().machine.as_ref().unwrap().stop.as_deref().unwrap();
    let words = describe(stop, target.dump());
    assert_eq!(words.name, "DRIVER_IRQL_NOT_LESS_OR_EQUAL");
    let texts: Vec<_> = words.parameters.iter().map(|parameter| parameter.words.clone().unwrap_or_default()).collect();
    assert!(texts[0].contains("close to null") && texts[1].contains("dispatch"), "{texts:?}");
    assert_eq!((texts[2].as_str(), texts[3].as_str()), ("a read", "bad.sys+0x1234"));
    let culprit = culprit(&target, stop).unwrap();
    assert_eq!((culprit.name.as_str(), culprit.direct, culprit.system), ("bad.sys", true, false));
    assert!(target.diagnosis().headline.ends_with("probably because of bad.sys."), "{}", target.diagnosis().headline);
}

#[test]
fn the_kernel_is_not_blamed_when_another_driver_is_on_the_stack() {
    let mut machine = Machine::x64();
    // The instruction that is named lies in the kernel.
    machine.put_uint(0x58, 0xffff_f801_0000_5a80, 8);
    let target = target(machine.complete());
    let stop = target.dump().machine.as_ref().unwrap().stop.as_deref().unwrap();
    let culprit = culprit(&target, stop).unwrap();
    assert_eq!((culprit.name.as_str(), culprit.direct), ("bad.sys", false));
    assert!(culprit.evidence[0].text.contains("bad.sys+0x1234"), "{:?}", culprit.evidence);
}

#[test]
fn an_arm64_small_dump_is_explained() {
    let target = target(Triage::arm64().build());
    let diagnosis = target.diagnosis();
    assert!(diagnosis.headline.contains("IRQL_NOT_LESS_OR_EQUAL"), "{}", diagnosis.headline);
    assert!(diagnosis.headline.contains("qcusb.sys"), "{}", diagnosis.headline);
}

#[test]
fn hardware_and_live_dumps_have_no_culprit() {
    for code in [0x124, 0x161, 0xe2] {
        let mut machine = Machine::x64();
        machine.put_uint(0x38, code, 4);
        let target = target(machine.complete());
        let stop = target.dump().machine.as_ref().unwrap().stop.as_deref().unwrap();
        assert_eq!(culprit(&target, stop), None, "{code:#x}");
    }
}

#[test]
fn the_real_small_dump_is_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/windows-kernel/triage_x64.dmp");
    if !path.exists() {
        println!("skipped: no sample at {}", path.display());
        return;
    }
    let dump = open(&path, &Budget::default()).unwrap();
    let target = Target::new(dump, Options::default(), Budget::default());
    let stop = target.dump().machine.as_ref().unwrap().stop.as_deref().unwrap();
    assert_eq!(describe(stop, target.dump()).name, "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M");
    let culprit = culprit(&target, stop).unwrap();
    assert_eq!((culprit.name.as_str(), culprit.direct), ("amdppm.sys", true));
    let exception = exception(&target, stop).unwrap();
    assert_eq!((exception.code, exception.instruction), (0xc000_0005, Some(0xffff_f804_8b58_334c)));
    println!("{}\n{exception:x?}", target.diagnosis().headline);
    // Rizin's frames with Microsoft's symbols, from the exception on.
    let truth = [
        0xffff_f804_8b58_334cu64,
        0xffff_f804_8b58_313f,
        0xffff_f804_8b58_3234,
        0xffff_f804_8b5a_0e8f,
        0xffff_f804_8b5a_83f6,
        0xffff_f804_8b59_f852,
        0xffff_f804_799c_c027,
        0xffff_f804_7996_6f81,
        0xffff_f804_799c_b227,
        0xffff_f804_799c_9e21,
        0xffff_f804_799c_99da,
        0xffff_f804_799c_b6b1,
        0xffff_f804_799c_b47a,
        0xffff_f804_799d_299e,
        0xffff_f804_7995_cc5f,
        0xffff_f804_7995_a866,
        0xffff_f804_7bc5_2f55,
        0xffff_f804_7c15_48a6,
        0xffff_f804_7bce_0d1e,
        0xffff_f804_7bd6_ab7c,
        0xffff_f804_7c12_3760,
        0xffff_f804_7c12_362f,
        0xffff_f804_7c12_6bdd,
        0xffff_f804_7c1b_df0c,
        0xffff_f804_7bd6_c2ec,
        0xffff_f804_7bc2_5975,
        0xffff_f804_7bd1_7e25,
        0xffff_f804_7bdf_d0d8,
    ];
    let stack = target.stack(target.crashed_thread().unwrap());
    let ours: Vec<u64> = stack.frames.iter().map(|frame| frame.address.address().0).collect();
    let mut at = 0;
    for address in truth {
        let next = ours.iter().skip(at).position(|own| *own == address);
        assert!(next.is_some(), "{address:#x} is missing behind frame {at} of {ours:x?}");
        at += next.unwrap_or(0) + 1;
    }
    println!("{} frames, {} of them rizin's", ours.len(), truth.len());
}
