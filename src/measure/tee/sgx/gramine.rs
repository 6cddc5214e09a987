//! Enclaves of Gramine: a manifest and `libpal.so`, laid out as `gramine-sgx-sign` does.
//!
//! Written from `python/graminelibos/sgx_sign.py` and the C structures whose offsets it uses, as of
//! Gramine 1.9 (`pal/src/host/linux-sgx/pal_tcb.h`, `pal_linux_defs.h`).

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::{Mrenclave, PAGE, bad, sdk};
use crate::digest::Sha256;
use crate::format::elf::Elf;
use crate::format::sgx::{SECINFO_R, SECINFO_REG, SECINFO_TCS, SECINFO_W, SECINFO_X};
use crate::format::{Error, Result};
use crate::measure::page::PAGE_SIZE;

/// Pages of one SSA frame (`SSA_FRAME_SIZE`).
const SSA_FRAME_PAGES: u64 = 4;
/// SSA frames per thread (`SSA_FRAME_NUM`).
const SSA_FRAMES: u64 = 2;
/// Pages of a thread's stack (`ENCLAVE_STACK_SIZE`).
const STACK_PAGES: u64 = 64;
/// Pages of a thread's signal stack (`ENCLAVE_SIG_STACK_SIZE`).
const SIGNAL_STACK_PAGES: u64 = 16;
/// Lowest address of the heap (`MMAP_MIN_ADDR`).
const HEAP_MIN: u64 = 0x1_0000;
/// `sizeof(sgx_pal_gpr_t)`.
const GPR_SIZE: u64 = 184;
/// `STACK_PROTECTOR_CANARY_DEFAULT`.
const CANARY: u64 = 0xbadb_adba_dbad;

const RW: u64 = SECINFO_R | SECINFO_W | SECINFO_REG;
const RWX: u64 = RW | SECINFO_X;

/// What of a manifest shapes the enclave's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// The rendered manifest, as it is loaded.
    pub text: &'a str,
    /// `sgx.enclave_size`, bytes.
    pub enclave_size: u64,
    /// `sgx.max_threads`.
    pub max_threads: u64,
    /// `sgx.edmm_enable`: the heap is not added before the enclave starts.
    pub edmm: bool,
    /// `sgx.debug`.
    pub debug: bool,
}

fn wrong(what: &'static str, found: impl ToString, expected: &str) -> Error {
    Error::Value { what, offset: 0, found: found.to_string(), expected: expected.to_string() }
}

impl<'a> Manifest<'a> {
    /// Reads a rendered manifest (`.manifest.sgx`, with its trusted files hashed).
    ///
    /// # Errors
    /// Not TOML, or `sgx.enclave_size` and `sgx.max_threads` are missing.
    pub fn parse(text: &'a [u8]) -> Result<Self> {
        let text = core::str::from_utf8(text)
            .map_err(|error| wrong("Gramine manifest", error, "text in UTF-8"))?;
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| wrong("Gramine manifest", error.message(), "TOML"))?;
        let sgx = table.get("sgx").and_then(toml::Value::as_table);
        let sgx = sgx.ok_or_else(|| wrong("Gramine manifest", "no [sgx]", "a table `sgx`"))?;
        let flag = |name: &str| sgx.get(name).and_then(toml::Value::as_bool).unwrap_or(false);
        let threads = sgx.get("max_threads").and_then(toml::Value::as_integer);
        let threads =
            threads.and_then(|n| u64::try_from(n).ok()).filter(|n| (1..=0x1_0000).contains(n));
        let size = sgx.get("enclave_size").and_then(toml::Value::as_str);
        let expected = "a text as \"1G\" or \"0x40000000\"";
        let size = size.ok_or_else(|| wrong("sgx.enclave_size", "none", expected))?;
        Ok(Self {
            text,
            enclave_size: bytes(size).ok_or_else(|| wrong("sgx.enclave_size", size, expected))?,
            max_threads: threads.ok_or_else(|| wrong("sgx.max_threads", "none", "1 to 65536"))?,
            edmm: flag("edmm_enable"),
            debug: flag("debug"),
        })
    }

    /// MRENCLAVE of the manifest's enclave, loaded by `libpal` (the PAL's ELF file).
    ///
    /// # Errors
    /// The PAL is no ELF file, or the areas do not fit into the enclave.
    pub fn mrenclave(&self, libpal: &[u8]) -> Result<Sha256> {
        let pal = Elf::parse(libpal)?;
        let areas = Areas::of(self, &pal)?;
        let mut mrenclave =
            Mrenclave::create(u32::try_from(SSA_FRAME_PAGES).unwrap_or(0), self.enclave_size)?;
        let zero = |add: &mut Mrenclave, start: u64, pages: u64| {
            (0..pages).try_for_each(|page| add.page(start + page * PAGE, RW, &[]))
        };
        let mut text = self.text.as_bytes().to_vec();
        text.push(0);
        for (offset, page) in (areas.manifest..).step_by(PAGE_SIZE).zip(text.chunks(PAGE_SIZE)) {
            mrenclave.page(offset, SECINFO_R | SECINFO_REG, page)?;
        }
        zero(&mut mrenclave, areas.ssa, SSA_FRAME_PAGES * SSA_FRAMES * self.max_threads)?;
        for thread in 0..self.max_threads {
            mrenclave.page(
                areas.tcs + thread * PAGE,
                SECINFO_TCS,
                &areas.tcs_page(thread, &pal),
            )?;
        }
        for thread in 0..self.max_threads {
            mrenclave.page(areas.tls + thread * PAGE, RW, &areas.tls_page(thread, self))?;
        }
        let stacks = [(areas.stack, STACK_PAGES), (areas.signal_stack, SIGNAL_STACK_PAGES)];
        for (first, pages) in stacks {
            for thread in 0..self.max_threads {
                zero(&mut mrenclave, first - thread * pages * PAGE, pages)?;
            }
        }
        for segment in pal.loads() {
            let mut segment = segment.clone();
            segment.vaddr = segment.vaddr.wrapping_add(areas.pal.wrapping_sub(areas.pal_base));
            sdk::load(&mut mrenclave, &segment)?;
        }
        if !self.edmm {
            self.free(&mut mrenclave, &areas)?;
        }
        Ok(mrenclave.finish())
    }

    /// Pages that are added without being measured: between areas, and the heap.
    fn free(&self, mrenclave: &mut Mrenclave, areas: &Areas) -> Result<()> {
        // Every area but one at a fixed address ends where the one before it begins, so that the
        // only gaps are above and below a PAL that says where it wants to be.
        let pal_end = areas.pal + areas.pal_size;
        let lowest = areas.lowest();
        let gaps = match areas.pal_fixed {
            true => vec![(pal_end, lowest), (HEAP_MIN, areas.pal)],
            false => vec![(HEAP_MIN, lowest)],
        };
        for (start, end) in gaps.into_iter().filter(|(start, end)| start < end) {
            (start..end).step_by(PAGE_SIZE).try_for_each(|offset| mrenclave.add(offset, RWX))?;
        }
        Ok(())
    }
}

/// `64`, `0x40`, `16K`, `256M`, `1G`.
fn bytes(text: &str) -> Option<u64> {
    let scales = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let scale = scales.iter().find(|(suffix, _)| text.ends_with(*suffix));
    let (digits, scale) = match scale {
        Some((suffix, scale)) => (text.strip_suffix(*suffix)?, *scale),
        None => (text, 1),
    };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    number.checked_mul(scale)
}

/// Where everything lies, from the top of the enclave downwards.
struct Areas {
    manifest: u64,
    ssa: u64,
    tcs: u64,
    tls: u64,
    /// First thread's; each further thread's lies below.
    stack: u64,
    /// First thread's; each further thread's lies below.
    signal_stack: u64,
    /// Last thread's: the lowest but for the PAL.
    lowest_stack: u64,
    pal: u64,
    pal_base: u64,
    pal_size: u64,
    pal_fixed: bool,
}

impl Areas {
    fn of(manifest: &Manifest<'_>, pal: &Elf<'_>) -> Result<Self> {
        let pages = |bytes: u64| bytes.div_ceil(PAGE);
        let base = pal.loads().map(|load| load.vaddr / PAGE).min().unwrap_or(0);
        let ends = pal.loads().map(|load| pages(load.vaddr.saturating_add(load.memsz)));
        let pal_size = (ends.max().unwrap_or(0).saturating_sub(base)).saturating_mul(PAGE);
        let threads = manifest.max_threads;
        let mut top = manifest.enclave_size;
        let mut down = |size: u64| {
            let start = top.checked_sub(size).filter(|start| *start >= HEAP_MIN);
            top = start.ok_or_else(|| {
                bad("sgx.enclave_size", 0, manifest.enclave_size, "more: its areas do not fit")
            })?;
            Ok(top)
        };
        let text = u64::try_from(manifest.text.len()).unwrap_or(u64::MAX) + 1;
        let (text, ssa) =
            (down(pages(text) * PAGE)?, down(threads * SSA_FRAMES * SSA_FRAME_PAGES * PAGE)?);
        let (tcs, tls) = (down(threads * PAGE)?, down(threads * PAGE)?);
        let stack = down(STACK_PAGES * PAGE)?;
        down((threads - 1) * STACK_PAGES * PAGE)?;
        let signal_stack = down(SIGNAL_STACK_PAGES * PAGE)?;
        let lowest_stack = down((threads - 1) * SIGNAL_STACK_PAGES * PAGE)?;
        let pal_base = base * PAGE;
        let fixed = base > 0;
        Ok(Self {
            manifest: text,
            ssa,
            tcs,
            tls,
            stack,
            signal_stack,
            lowest_stack,
            pal: if fixed { pal_base } else { down(pal_size)? },
            pal_base,
            pal_size,
            pal_fixed: fixed,
        })
    }

    /// The lowest address of the areas, but for a PAL at a fixed address.
    fn lowest(&self) -> u64 {
        if self.pal_fixed { self.lowest_stack } else { self.pal }
    }

    fn ssa_of(&self, thread: u64) -> u64 {
        self.ssa + thread * SSA_FRAMES * SSA_FRAME_PAGES * PAGE
    }

    /// `sgx_arch_tcs_t` of a thread (SDM table 35-7).
    fn tcs_page(&self, thread: u64, pal: &Elf<'_>) -> Vec<u8> {
        let mut page = vec![0; 72];
        let entry = self.pal.wrapping_add(pal.entry);
        put(&mut page, 16, self.ssa_of(thread)); // OSSA
        put(&mut page, 24, SSA_FRAMES << 32); // CSSA 0, NSSA
        put(&mut page, 32, entry); // OENTRY
        put(&mut page, 56, self.tls + thread * PAGE); // OGSBASE
        put(&mut page, 64, 0xfff_0000_0fff); // FSLIMIT, GSLIMIT
        page
    }

    /// `struct pal_enclave_tcb` of a thread, of which most is filled in later.
    fn tls_page(&self, thread: u64, manifest: &Manifest<'_>) -> Vec<u8> {
        let mut page = vec![0; 0x1c0];
        let own = self.tls + thread * PAGE;
        let stack = self.stack - thread * STACK_PAGES * PAGE;
        let signal = self.signal_stack - thread * SIGNAL_STACK_PAGES * PAGE;
        let ssa = self.ssa_of(thread);
        put(&mut page, 0, own); // common.self
        put(&mut page, 8, CANARY); // common.stack_protector_canary
        put(&mut page, 272, manifest.enclave_size); // behind 256 bytes of the library OS
        put(&mut page, 280, self.tcs + thread * PAGE); // tcs_offset
        put(&mut page, 288, stack + STACK_PAGES * PAGE); // initial_stack_addr
        put(&mut page, 304, signal); // sig_stack_low, behind tmp_rip
        put(&mut page, 312, signal + SIGNAL_STACK_PAGES * PAGE); // sig_stack_high
        put(&mut page, 328, ssa); // ssa, behind ecall_return_addr
        put(&mut page, 336, ssa + SSA_FRAME_PAGES * PAGE - GPR_SIZE); // gpr
        // exit_target, fsbase, pre_ocall_stack, ustack_top, ustack, thread, ocall_exit_called,
        // thread_started and ready_for_exceptions stay 0.
        let text = u64::try_from(manifest.text.len()).unwrap_or(u64::MAX) + 1;
        put(&mut page, 416, text); // manifest_size
        put(&mut page, 424, HEAP_MIN); // heap_min
        put(&mut page, 432, self.pal); // heap_max
        page
    }
}

fn put(page: &mut [u8], offset: usize, value: u64) {
    let field = page.get_mut(offset..).and_then(<[u8]>::first_chunk_mut::<8>);
    field.into_iter().for_each(|field| *field = value.to_le_bytes());
}
