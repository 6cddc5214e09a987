//! IGVM files: platforms, and every directive in order.

use super::Facts;
use crate::digest::{Sha256, Sha384};
use crate::format::igvm::{Action, Directive, File, Page};
use crate::format::vmsa::Vmsa;

pub(super) fn is_igvm(bytes: &[u8]) -> bool {
    bytes.starts_with(b"IGVM")
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    const PLATFORMS: [&str; 7] = ["native", "VSM", "SEV-SNP", "TDX", "SEV", "SEV-ES", "CCA"];
    let file = File::parse(bytes)?;
    let platforms = file.platforms.iter().map(|platform| {
        let name = PLATFORMS.get(usize::from(platform.kind.0)).unwrap_or(&"unknown");
        format!("{name}, mask {:#x}", platform.mask)
    });
    Ok(Facts::default()
        .with("platforms", platforms.collect::<Vec<_>>())
        .with("directives", file.directives.iter().map(directive).collect::<Vec<_>>()))
}

fn directive(directive: &Directive<'_>) -> String {
    let what = match &directive.action {
        Action::Policy(policy) => format!("policy {policy:#x}"),
        Action::Area { index, size } => format!("parameter area {index}, {size} bytes"),
        Action::Page(page) => self::page(page),
        Action::Insert { index, gpa } => format!("parameter area {index} at {gpa:#x}"),
        Action::Vp { index, gpa, state } => {
            let digest = Sha256::of(state);
            format!("vCPU {index}, VMSA at {gpa:#x}{}, sha256:{digest}", start(state))
        }
        Action::IdBlock(digest) => format!("ID block for {}", Sha384(*digest)),
        Action::Other(kind) => format!("{kind:?}"),
    };
    format!("{what} (mask {:#x})", directive.mask)
}

fn page(page: &Page<'_>) -> String {
    let kind = ["page", "secrets page", "CPUID page", "CPUID page, extended"];
    let kind = kind.get(usize::from(page.kind.0)).unwrap_or(&"page");
    let notes = [
        (page.large, " of 2 MiB"),
        (page.data.is_none(), ", no data"),
        (page.unmeasured, ", unmeasured"),
        (page.shared, ", shared"),
    ];
    let notes: String = notes.iter().filter(|(holds, _)| *holds).map(|(_, note)| *note).collect();
    let data = page.data.map_or_else(String::new, |data| format!(", sha256:{}", Sha256::of(data)));
    format!("{kind} at {:#x}{notes}{data}", page.gpa)
}

/// Where the vCPU starts, and with which SEV features.
fn start(state: &[u8]) -> String {
    use zerocopy::FromBytes as _;
    Vmsa::read_from_bytes(state).map_or_else(
        |_| String::new(),
        |vmsa| format!(", RIP {:#x}, SEV features {:#x}", vmsa.rip.get(), vmsa.sev_features.get()),
    )
}
