//! Device trees: whatever is accepted is written back and read again as the same tree.
#![no_main]

use guestsmith::format::fdt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tree) = fdt::Node::parse(bytes) else { return };
    let again = fdt::Node::parse(&tree.write()).expect("what we write can be read");
    assert_eq!(again, tree);
});
