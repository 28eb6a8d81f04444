//! The built binary's demo: the whole journey through real doors to a real mail server.

use std::process::Command;

#[test]
fn the_demo_comes_out_right_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_dropchute"));
    let output = demo.args(["demo", "--once"]).env("TMPDIR", folder.path()).output().unwrap();
    let story = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{story}\n{complaints}");
    assert!(story.contains("the 9 messages sent arrived once each"), "{story}");
    assert_eq!(complaints, "");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
