//! `inspect` on real firmware.

use crate::command::run;
use crate::inputs;

#[test]
fn firmware_of_debian_is_recognised() {
    for name in ["sid-OVMF.amdsev.fd", "sid-OVMF.inteltdx.ms.fd", "trixie-OVMF.fd"] {
        let path = inputs::path(name);
        let (code, stdout, stderr) = run(&["inspect", "--json", path.to_str().expect("UTF-8")]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}");
        let value: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
        assert_eq!(value["format"], "firmware", "{name}");
        let volumes = value["facts"]["volumes"].as_array().expect("volumes");
        assert!(volumes.len() > 2, "{name}");
    }
}

#[test]
fn an_unknown_file_is_no_answer() {
    let (code, stdout, stderr) = run(&["inspect", "Cargo.toml"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.starts_with("error: cannot inspect Cargo.toml\n"), "{stderr}");
}
