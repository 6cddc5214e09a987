//! A plain text table, for people: every machine, every register.

use core::fmt::Write as _;

use super::{Document, Emitted, Emitter, Result};

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "table",
    about: "plain text for people",
    file: "reference-values.txt",
    media_type: "text/plain",
    make: |document, _| emit(document),
};

fn emit(document: &Document) -> Result<Emitted> {
    let mut text = String::new();
    for machine in &document.machines {
        let width = machine.registers.keys().map(String::len).max().unwrap_or(0);
        let _ = writeln!(text, "{}", machine.label()); // writing to a String cannot fail
        for (name, value) in &machine.registers {
            let _ = writeln!(text, "  {name:width$}  {value}");
        }
        for line in machine.undecided() {
            let _ = writeln!(text, "  {line}");
        }
        for warning in &machine.warnings {
            let _ = writeln!(text, "  warning: {warning}");
        }
        text.push('\n');
    }
    text.pop();
    Ok(Emitted::sure(text.into_bytes()))
}
