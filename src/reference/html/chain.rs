//! The picture of a boot chain: components on the left, registers on the right, a line for «goes
//! into».

use core::fmt::Write as _;

use super::super::Machine;
use super::escaped;

/// What goes into a register without leaving an event: TEE, register, component.
const STATIC: &[(&str, &str, &str)] = &[
    ("sev", "launch_digest", "firmware"),
    ("sev", "launch_digest", "hashes of kernel, initrd, command line"),
    ("sev-es", "launch_digest", "firmware"),
    ("sev-es", "launch_digest", "hashes of kernel, initrd, command line"),
    ("sev-es", "launch_digest", "state of every vCPU"),
    ("sev-snp", "measurement", "firmware"),
    ("sev-snp", "measurement", "hashes of kernel, initrd, command line"),
    ("sev-snp", "measurement", "state of every vCPU"),
    ("tdx", "mrtd", "firmware, as added by the VMM"),
    ("sgx", "mrenclave", "pages of the enclave"),
    ("sgx", "mrsigner", "key that signed the enclave"),
    ("cca", "rim", "initial memory and parameters of the realm"),
    ("csv", "measure", "firmware and hashes"),
    ("se", "tag", "kernel, initrd, command line, encrypted"),
    ("se", "image_phkh", "public host key"),
];

/// Height of a row, of a box in it, and the columns.
const ROW: usize = 34;
const BOX: usize = 26;
const LEFT: usize = 340;
const GAP: usize = 130;
const RIGHT: usize = 190;
/// Longest text in a box, in characters.
const TEXT: usize = 46;

/// Components of one register, in order.
struct Chain<'a> {
    register: &'a str,
    /// Nothing was extended: all bits are zero.
    empty: bool,
    components: Vec<String>,
}

/// An SVG of the machine's registers and what goes into each; nothing where that is unknown.
pub(super) fn picture(machine: &Machine) -> String {
    let chains: Vec<_> = machine.registers.keys().map(|name| chain(machine, name)).collect();
    let rows: usize = chains.iter().map(|chain| chain.components.len().max(1)).sum();
    let (width, height) = (LEFT + GAP + RIGHT, rows * ROW);
    let label = escaped(&format!("What goes into the registers of {}", machine.label()));
    let mut svg = format!(
        "<svg viewBox=\"-1 0 {} {height}\" width=\"{width}\" role=\"img\" \
         aria-label=\"{label}\">\n",
        width + 2 // room for the outline
    );
    let mut row = 0;
    for chain in &chains {
        svg += &drawn(chain, row);
        row += chain.components.len().max(1);
    }
    svg + "</svg>\n"
}

fn chain<'a>(machine: &Machine, register: &'a str) -> Chain<'a> {
    let fixed = STATIC.iter().filter(|(tee, name, _)| *tee == machine.tee && *name == register);
    let mut components: Vec<_> = fixed.map(|(_, _, what)| (*what).to_string()).collect();
    let events = machine.events.iter().filter(|event| event.register == register);
    components.extend(events.map(|event| event.what.clone()));
    let empty =
        machine.registers.get(register).is_some_and(|value| value.bytes().all(|b| b == b'0'));
    Chain { register, empty, components }
}

fn drawn(chain: &Chain<'_>, first: usize) -> String {
    let rows = chain.components.len().max(1);
    let middle = first * ROW + rows * ROW / 2;
    let mut svg = String::new();
    for (place, component) in chain.components.iter().enumerate() {
        let y = (first + place) * ROW + ROW / 2;
        let (bend, end) = (LEFT + GAP / 2, LEFT + GAP);
        let _ =
            writeln!(svg, "<path d=\"M{LEFT} {y} C{bend} {y} {bend} {middle} {end} {middle}\"/>");
        svg += &boxed("component", 0, y, LEFT, component);
    }
    if chain.components.is_empty() {
        let what =
            if chain.empty { "nothing before the guest runs" } else { "one value, without parts" };
        svg += &boxed("nothing", 0, middle, LEFT, what);
    }
    svg + &boxed("register", LEFT + GAP, middle, RIGHT, chain.register)
}

/// A box with its text, its middle at `y`.
fn boxed(class: &str, x: usize, y: usize, width: usize, text: &str) -> String {
    let (top, inside, base) = (y - BOX / 2, x + 10, y + 4);
    let short: String = match text.chars().count() > TEXT {
        true => text.chars().take(TEXT - 1).chain(['…']).collect(),
        false => text.to_string(),
    };
    format!(
        "<g class=\"{class}\"><title>{}</title><rect x=\"{x}\" y=\"{top}\" width=\"{width}\" \
         height=\"{BOX}\" rx=\"5\"/><text x=\"{inside}\" y=\"{base}\">{}</text></g>\n",
        escaped(text),
        escaped(&short)
    )
}
