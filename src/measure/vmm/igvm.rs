//! What a VMM makes of an IGVM file under SEV-SNP. The format says what to load; loaders differ in
//! order, in empty pages and in registers, so the digest depends on the VMM. `docs/measure/igvm.md`.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use zerocopy::{FromBytes as _, IntoBytes as _};

use super::sev::{Launch, pages_from};
use crate::format;
use crate::format::igvm::{
    Action as Header, Directive, File, LARGE_PAGE, Page, PageType, PlatformType,
};
use crate::format::vmsa::Vmsa;
use crate::measure::page::{Action, PAGE_SIZE, Step};
use crate::measure::{Error, Machine, Result};

/// How one VMM launches an IGVM file.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// In which order pages come.
    pub order: Order,
    /// What a page without data is.
    pub empty: Empty,
    /// What becomes of a page of 2 MiB.
    pub large: Large,
    /// All pages of a parameter area count, or only the first.
    pub whole_areas: bool,
    /// Pages shared with the host are left out.
    pub skips_shared: bool,
    /// Where the registers of vCPUs come from.
    pub vps: Vps,
}

/// In which order pages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As the file has them.
    File,
    /// Runs of like pages wait until another begins, so that a parameter area overtakes them.
    Queued,
    /// By address.
    Address,
}

/// What a page without data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Empty {
    /// A normal page of zeros.
    Normal,
    /// A zero page.
    Zero,
}

/// What becomes of a page of 2 MiB, of which a file holds the first 4 KiB at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Large {
    /// All of it is launched, zeros behind what the file holds.
    Whole,
    /// All of it is launched if the file holds nothing of it; else the loader gives up.
    WholeIfEmpty,
    /// Its first 4 KiB alone: the loader does not look at its size.
    First,
}

/// Where the registers of vCPUs come from.
#[derive(Debug, Clone, Copy)]
pub enum Vps {
    /// The file, at their place and address in it.
    File,
    /// Likewise, those for SEV-ES included: the mask of registers is ignored.
    FileWhole,
    /// The file, as KVM changes them, behind everything else; vCPUs that the file leaves out start
    /// as the launch of a firmware lets the first one.
    Kvm(&'static Launch),
}

/// Pages of 4 KiB in a page of 2 MiB.
const LARGE_PAGES: usize = 512;
const _: () = assert!(LARGE_PAGES as u64 * PAGE_SIZE as u64 == LARGE_PAGE);

/// The platform type of SEV-ES, which `igvm_defs` holds to be unstable.
const SEV_ES: PlatformType = PlatformType(5);

/// Pages that one launch may have: 4 GiB.
const MAX_STEPS: usize = 1 << 20;

/// The steps of a launch of `file` on `machine`, and the number of vCPUs.
///
/// # Errors
/// The file does not support SEV-SNP, or asks for what the VMM cannot do.
pub fn steps<'a>(rules: &Rules, bytes: &'a [u8], machine: &Machine) -> Result<Vec<Step<'a>>> {
    let file = File::parse(bytes).map_err(input)?;
    let mask = file.mask(PlatformType::SEV_SNP).ok_or_else(|| {
        let why = "none of its supported platforms is SEV-SNP".to_string();
        input(format::Error::Missing { what: "platform", why })
    })?;
    let directives = wanted(rules, &file, mask);
    let mut steps = match rules.order {
        Order::Queued => queued(rules, &directives)?,
        Order::File | Order::Address => in_order(rules, &directives)?,
    };
    if rules.order == Order::Address {
        steps.sort_by_key(|step| step.gpa);
    }
    if let Vps::Kvm(launch) = rules.vps {
        steps.extend(kvm_vps(launch, &directives, machine)?);
    }
    Ok(steps)
}

fn input(error: format::Error) -> Error {
    Error::Input { input: "igvm", error }
}

/// A directive and its number in the file.
type Numbered<'f, 'a> = (usize, &'f Directive<'a>);

/// The directives of `file` that hold for the platform with `mask`.
fn wanted<'f, 'a>(rules: &Rules, file: &'f File<'a>, mask: u32) -> Vec<Numbered<'f, 'a>> {
    let vps = match rules.vps {
        Vps::FileWhole => mask | file.mask(SEV_ES).unwrap_or_default(),
        Vps::File | Vps::Kvm(_) => mask,
    };
    let wanted = |directive: &Directive<'_>| match directive.action {
        Header::Vp { .. } => directive.mask & vps != 0,
        _ => directive.mask & mask != 0,
    };
    file.directives.iter().enumerate().filter(|(_, directive)| wanted(directive)).collect()
}

/// Sizes of the parameter areas by number.
type Areas = BTreeMap<u32, u64>;

fn areas(directives: &[Numbered<'_, '_>]) -> Areas {
    let area = |(_, directive): &Numbered<'_, '_>| match directive.action {
        Header::Area { index, size } => Some((index, size)),
        _ => None,
    };
    directives.iter().filter_map(area).collect()
}

fn in_order<'a>(rules: &Rules, directives: &[Numbered<'_, 'a>]) -> Result<Vec<Step<'a>>> {
    let areas = areas(directives);
    let mut steps = Vec::new();
    for (_, directive) in directives {
        match directive.action {
            Header::Page(page) => {
                whole(rules, &page, directive.offset)?;
                steps.extend(load(rules, page));
            }
            Header::Insert { index, gpa } => {
                steps.extend(insert(rules, &areas, directive.offset, (index, gpa))?);
            }
            Header::Vp { gpa, state, .. } if !matches!(rules.vps, Vps::Kvm(_)) => {
                steps.push(Step { gpa, action: Action::Vmsa(Cow::Borrowed(state)) });
            }
            _ => {}
        }
        bounded(steps.len(), directive.offset)?;
    }
    Ok(steps)
}

/// QEMU `backends/igvm.c` (`qigvm_process_mem_page`): pages wait as long as the next header of the
/// file is a page that continues the run; what is inserted meanwhile goes first.
fn queued<'a>(rules: &Rules, directives: &[Numbered<'_, 'a>]) -> Result<Vec<Step<'a>>> {
    let areas = areas(directives);
    let (mut steps, mut waiting): (Vec<Step<'a>>, Vec<Page<'a>>) = (Vec::new(), Vec::new());
    let mut last: Option<Numbered<'_, 'a>> = None;
    for (number, directive) in directives {
        match directive.action {
            Header::Page(page) => {
                let next = last.is_some_and(|(before, header)| {
                    before + 1 == *number && header.mask == directive.mask
                });
                if !waiting.last().is_some_and(|before| next && continues(before, &page)) {
                    steps.extend(waiting.drain(..).flat_map(|page| load(rules, page)));
                }
                waiting.push(page);
                last = Some((*number, directive));
            }
            Header::Insert { index, gpa } => {
                steps.extend(insert(rules, &areas, directive.offset, (index, gpa))?);
            }
            _ => {}
        }
        bounded(steps.len() + waiting.len(), directive.offset)?;
    }
    steps.extend(waiting.into_iter().flat_map(|page| load(rules, page)));
    Ok(steps)
}

fn continues(before: &Page<'_>, page: &Page<'_>) -> bool {
    let attributes = |p: &Page<'_>| (p.kind, p.large, p.unmeasured, p.shared, p.data.is_some());
    let size = if before.large { LARGE_PAGE } else { PAGE_SIZE as u64 };
    before.gpa.checked_add(size) == Some(page.gpa) && attributes(before) == attributes(page)
}

/// Refuses a large page that the loader gives up on.
fn whole(rules: &Rules, page: &Page<'_>, offset: usize) -> Result<()> {
    let refused = rules.large == Large::WholeIfEmpty && page.large && page.data.is_some();
    let (what, expected) = ("a page of 2 MiB with data", "4 KiB, or no data: this loader stops");
    let error = |_| {
        input(format::Error::Value {
            what,
            offset,
            found: format!("the page at {:#x}", page.gpa),
            expected: expected.to_string(),
        })
    };
    (!refused).then_some(()).ok_or(()).map_err(error)
}

/// The steps of a page.
fn load<'a>(rules: &Rules, page: Page<'a>) -> impl Iterator<Item = Step<'a>> + use<'a> {
    let empty = rules.empty;
    let whole = page.large && rules.large != Large::First;
    let count = match page.shared && rules.skips_shared {
        true => 0,
        false if whole => LARGE_PAGES,
        false => 1,
    };
    let part = move |(number, gpa)| Step { gpa, action: action(empty, &page, number == 0) };
    pages_from(page.gpa).take(count).enumerate().map(part)
}

/// What becomes of the first 4 KiB of a page, or of others.
fn action<'a>(empty: Empty, page: &Page<'a>, first: bool) -> Action<'a> {
    match (page.kind, page.data.filter(|_| first)) {
        (PageType::SECRETS, _) => Action::Secrets,
        (PageType::CPUID_DATA | PageType::CPUID_XF, _) => Action::Cpuid,
        _ if page.unmeasured => Action::Unmeasured,
        (_, Some(data)) => Action::Normal(Cow::Borrowed(data)),
        (_, None) if empty == Empty::Zero => Action::Zero,
        (_, None) => Action::Normal(Cow::Borrowed(&[0; PAGE_SIZE])),
    }
}

fn insert<'a>(
    rules: &Rules,
    areas: &Areas,
    offset: usize,
    (index, gpa): (u32, u64),
) -> Result<Vec<Step<'a>>> {
    let Some(size) = areas.get(&index) else {
        let known: Vec<_> = areas.keys().map(ToString::to_string).collect();
        let (what, expected) =
            ("number of a parameter area", format!("one of {}", known.join(", ")));
        return Err(input(format::Error::Value {
            what,
            offset,
            found: index.to_string(),
            expected,
        }));
    };
    let pages = usize::try_from(size.div_ceil(PAGE_SIZE as u64)).unwrap_or(usize::MAX);
    let pages = if rules.whole_areas { pages } else { pages.min(1) };
    let step = |gpa| Step { gpa, action: Action::Unmeasured };
    Ok(pages_from(gpa).take(pages).map(step).collect())
}

fn bounded(steps: usize, offset: usize) -> Result<()> {
    let (found, expected) = (steps.to_string(), format!("at most {MAX_STEPS}"));
    match steps > MAX_STEPS {
        true => {
            Err(input(format::Error::Value { what: "number of pages", offset, found, expected }))
        }
        false => Ok(()),
    }
}

/// VMSAs as KVM measures them: MCE in CR4 and the reserved bit of RFLAGS are set, at KVM's address.
fn kvm_vps<'a>(
    launch: &Launch,
    directives: &[Numbered<'_, 'a>],
    machine: &Machine,
) -> Result<Vec<Step<'a>>> {
    let mut contexts = BTreeMap::new();
    for (_, directive) in directives {
        if let Header::Vp { index, state, .. } = directive.action {
            contexts.insert(u32::from(index), context(state));
        }
    }
    let last = contexts.keys().next_back().map_or(0, |last| last + 1);
    let count = machine.vcpus.unwrap_or(last);
    if count < last {
        return Err(too_few(last, count));
    }
    let features = contexts.values().next().map_or(1, |vmsa| vmsa.sev_features.get());
    let gpa = (launch.vmsa_gpa)(machine.cpu.as_ref());
    let mut steps = vec![];
    for index in 0..count {
        let vmsa = match contexts.get(&index) {
            Some(vmsa) => *vmsa,
            None if machine.cpu.is_none() => return Err(no_cpu(index)),
            // Index 0: the state at reset, which nothing in the file overrides.
            None => launch.vmsa(0, 0, features, machine.cpu.as_ref()),
        };
        steps.push(Step { gpa, action: Action::Vmsa(Cow::Owned(super::sev::bytes(&vmsa))) });
    }
    Ok(steps)
}

fn context(state: &[u8]) -> Vmsa {
    let mut vmsa = Vmsa::ZERO;
    if let Ok(read) = Vmsa::read_from_bytes(state) {
        vmsa = read;
    }
    vmsa.cr4 |= 0x40;
    vmsa.rflags |= 2;
    debug_assert_eq!(vmsa.as_bytes().len(), PAGE_SIZE);
    vmsa
}

fn too_few(contexts: u32, vcpus: u32) -> Error {
    let why = format!("the IGVM file has registers for {contexts} vCPUs");
    Error::Unsupported { what: format!("a machine with {vcpus} vCPUs"), why }
}

fn no_cpu(index: u32) -> Error {
    let why: String = format!(
        "the IGVM file has no registers for vCPU {index}, which then starts with the CPU's \
         signature; give --cpu EPYC-Milan or --cpu-signature"
    );
    Error::Missing { tee: "sev-snp", what: "a CPU model", why }
}

#[cfg(test)]
mod tests;
