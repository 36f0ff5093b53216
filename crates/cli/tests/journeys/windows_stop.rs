//! A Windows machine that stopped, as a person and a script see it.

use crate::tool::{Report, afterimage, output};
use afterimage_testkit::build_windows_dump::{Machine, Triage};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn text(arguments: &[&str], dump: &Path) -> String {
    let done = output(afterimage().args(arguments).arg("--color").arg("never").arg(dump), LIMIT);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn a_stop_is_explained_with_its_culprit() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in
        [("complete", Machine::x64().complete()), ("kernel", Machine::x64().bitmap(6, b"SDMP", 0x1003))]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let report = text(&["explain"], &path);
        for part in [
            "0xd1 DRIVER_IRQL_NOT_LESS_OR_EQUAL, probably because of bad.sys",
            "instruction that touched it: bad.sys+0x1234",
            "kind of access: a read",
            "version 1.2.3.4",
            "19041.1.amd64fre.vb_release.191206-1406",
            "1 h 0 min after it had started",
            "victim.exe (process 500)",
            "What to do next",
        ] {
            assert!(report.contains(part), "{part:?} is missing in\n{report}");
        }
        let report = Report::explain(&path, None).unwrap();
        assert_eq!(report.value("exception", "signal"), json!("DRIVER_IRQL_NOT_LESS_OR_EQUAL"));
        assert_eq!(report.value("exception", "number"), json!(0xd1));
        assert_eq!(report.value("dump", "type"), json!(name));
        assert!(report.sentences().contains("The probable culprit is bad.sys"), "{}", report.sentences());
        assert_eq!(report.table("modules").count(), 3);
    }
}

#[test]
fn drivers_of_a_small_dump_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small");
    std::fs::write(&path, Triage::arm64().build()).unwrap();
    let path = path.to_str().unwrap();
    let list = |table: &str| {
        let done = output(afterimage().args(["show", path, table, "--csv"]), LIMIT);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let drivers = list("modules");
    assert!(drivers.contains("qcusb.sys") && drivers.contains("0xfffff80210000000"), "{drivers}");
    assert!(list("unloaded_modules").contains("gone.sys"));
}
