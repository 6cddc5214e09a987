//! Enclaves of the Intel SGX SDK, and of what is built on it (Occlum): `.signed.so`.
//!
//! The loader's order (intel/linux-sgx, `psw/urts/loader.cpp`, `CLoader::build_image`): the patch
//! table goes into the ELF file, its loaded segments are added in file order, then the layout table.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Identity, Mrenclave, PAGE, bad};
use crate::format::elf::{Elf, PF_R, PF_W, PF_X, PT_DYNAMIC, Segment};
use crate::format::sgx::{SECINFO_R, SECINFO_REG, SECINFO_TCS, SECINFO_W, SECINFO_X};
use crate::format::sgx_metadata::{Content, EADD, EEXTEND, Layout, Metadata, Pages, Patch};
use crate::format::{Error, Result};
use crate::measure::page::PAGE_SIZE;

/// The identity of an enclave of the SDK; the signature's own hash must be the computed one.
pub(super) fn identity(image: &[u8]) -> Result<Identity> {
    let section = Elf::parse(image)?.section(".note.sgxmeta")?;
    let section = section.ok_or_else(|| {
        let why = "it holds the enclave's layout; sign the enclave with sgx_sign".to_string();
        Error::Missing { what: "section .note.sgxmeta", why }
    })?;
    let metadata = Metadata::parse(section)?;
    let mrenclave = measure(image, &metadata)?;
    metadata.sigstruct.check()?;
    if metadata.sigstruct.enclave_hash != mrenclave.0 {
        let found = crate::digest::hex(&metadata.sigstruct.enclave_hash);
        let expected = alloc::format!("{mrenclave}, which the file measures to");
        return Err(Error::Value { what: "SIGSTRUCT ENCLAVEHASH", offset: 960, found, expected });
    }
    Ok(Identity { mrenclave, sigstruct: Some(metadata.sigstruct) })
}

fn measure(image: &[u8], metadata: &Metadata<'_>) -> Result<crate::digest::Sha256> {
    let patched = patched(image, &metadata.patches)?;
    let elf = Elf::parse(&patched)?;
    refuse_text_relocations(&elf)?;
    let mut mrenclave = Mrenclave::create(metadata.ssa_frame_size, metadata.enclave_size)?;
    let mut segments = elf.loads().peekable();
    while let Some(segment) = segments.next() {
        load(&mut mrenclave, segment)?;
        if metadata.version == VERSION_OF_SDK_1_5 {
            let next = segments.peek().map_or(u64::MAX, |next| next.vaddr / PAGE * PAGE);
            page_behind(&mut mrenclave, segment, next)?;
        }
    }
    rows(&mut mrenclave, &metadata.layout, 0)?;
    Ok(mrenclave.finish())
}

fn patched(image: &[u8], patches: &[Patch<'_>]) -> Result<Vec<u8>> {
    let mut file = image.to_vec();
    for patch in patches {
        let at = usize::try_from(patch.at).unwrap_or(usize::MAX);
        let end = at.saturating_add(patch.bytes.len());
        let room = file.get_mut(at..end);
        let room =
            room.ok_or_else(|| bad("SGX patch", patch.at, patch.at, "a place in the file"))?;
        room.copy_from_slice(patch.bytes);
    }
    Ok(file)
}

/// `DT_TEXTREL`: the loader adds pages with relocations as writable, which is not computed here.
const DT_TEXTREL: u64 = 22;

fn refuse_text_relocations(elf: &Elf<'_>) -> Result<()> {
    let dynamic = elf.segments.iter().filter(|segment| segment.kind == PT_DYNAMIC);
    let mut tags = dynamic.flat_map(|segment| segment.data.as_chunks::<16>().0);
    match tags.any(|entry| entry.starts_with(&DT_TEXTREL.to_le_bytes())) {
        true => Err(bad("ELF dynamic section", 0, DT_TEXTREL, "no DT_TEXTREL (link with -z text)")),
        false => Ok(()),
    }
}

/// Metadata version 1.3.
const VERSION_OF_SDK_1_5: u64 = 1 << 32 | 3;

/// SDK 1.5 rounded a segment's size up before it added its address: where that takes one page more
/// and the next segment leaves room for it, a page of zeros follows.
fn page_behind(mrenclave: &mut Mrenclave, segment: &Segment<'_>, next: u64) -> Result<()> {
    let rounded = |bytes: u64| bytes.div_ceil(PAGE).saturating_mul(PAGE);
    let end = rounded(segment.vaddr.saturating_add(segment.memsz));
    let generous = rounded(segment.vaddr.saturating_add(rounded(segment.memsz)));
    match end < generous && end < next {
        true => mrenclave.page(end, flags(segment), &[]),
        false => Ok(()),
    }
}

/// `SECINFO.FLAGS` of a segment's pages.
fn flags(segment: &Segment<'_>) -> u64 {
    let bits = [(PF_R, SECINFO_R), (PF_W, SECINFO_W), (PF_X, SECINFO_X)];
    let set = bits.iter().filter(|(bit, _)| segment.flags & bit != 0);
    set.fold(SECINFO_REG, |flags, (_, flag)| flags | flag)
}

/// A loaded segment: every page of it, its file's bytes and then zeros, all measured.
pub(super) fn load(mrenclave: &mut Mrenclave, segment: &Segment<'_>) -> Result<()> {
    if segment.memsz == 0 {
        return Ok(());
    }
    let lead = usize::try_from(segment.vaddr % PAGE).unwrap_or(0);
    let outside =
        || bad("ELF segment address", segment.offset, segment.vaddr, "one inside the enclave");
    let first = segment.vaddr / PAGE * PAGE;
    let end = segment.vaddr.checked_add(segment.memsz).ok_or_else(outside)?;
    let (head, rest) = segment.data.split_at(segment.data.len().min(PAGE_SIZE - lead));
    let mut pages = rest.chunks(PAGE_SIZE);
    let mut page = [0; PAGE_SIZE];
    page.iter_mut().skip(lead).zip(head).for_each(|(to, from)| *to = *from);
    let mut contents: &[u8] = &page;
    for offset in (first..end).step_by(PAGE_SIZE) {
        mrenclave.page(offset, flags(segment), contents)?;
        contents = pages.next().unwrap_or_default();
    }
    Ok(())
}

/// The layout table, with every offset moved on by `delta`.
fn rows(mrenclave: &mut Mrenclave, layout: &[Layout<'_>], delta: u64) -> Result<()> {
    for (index, row) in layout.iter().enumerate() {
        match row {
            Layout::Pages(pages) => add(mrenclave, pages, delta)?,
            Layout::Again { entries, times, step } => {
                let start = index.checked_sub(*entries).filter(|_| delta == 0);
                let repeated = start.and_then(|start| layout.get(start..index));
                let expected = "a group of rows before it, without groups";
                let repeated =
                    repeated.ok_or_else(|| bad("SGX layout group", 0, *step, expected))?;
                let turns = u64::from(*times);
                let fits = step.checked_mul(turns).is_some_and(|all| all <= mrenclave.size);
                if *step < PAGE || !fits {
                    return Err(bad(
                        "SGX layout step",
                        0,
                        *step,
                        "0x1000 up to what the enclave holds",
                    ));
                }
                (1..=turns).try_for_each(|turn| rows(mrenclave, repeated, step * turn))?;
            }
        }
    }
    Ok(())
}

fn add(mrenclave: &mut Mrenclave, pages: &Pages<'_>, delta: u64) -> Result<()> {
    if pages.attributes & EADD == 0 {
        return Ok(());
    }
    let outside = || bad("SGX layout page", 0, pages.rva, "one inside the enclave");
    let start = pages.rva.checked_add(delta).ok_or_else(outside)?;
    // The loader measures pages with bytes of their own whatever their attributes say.
    let own = matches!(pages.content, Content::Bytes(_)) && pages.flags != SECINFO_TCS;
    let measured = own || pages.attributes & EEXTEND != 0;
    let mut content = match &pages.content {
        Content::Bytes(bytes) if pages.flags == SECINFO_TCS => tcs(bytes, start),
        Content::Bytes(bytes) => bytes.to_vec(),
        Content::Fill(_) if pages.flags == 0 => return Ok(()), // a guard page
        Content::Fill(0) => Vec::new(),
        Content::Fill(number) => number.to_le_bytes().repeat(PAGE_SIZE / 4),
    };
    for index in 0..u64::from(pages.count) {
        let offset = index.checked_mul(PAGE).and_then(|bytes| start.checked_add(bytes));
        let offset = offset.ok_or_else(outside)?;
        match measured {
            true => {
                mrenclave.page(offset, pages.flags, content.get(..PAGE_SIZE).unwrap_or(&content))?
            }
            false => mrenclave.add(offset, pages.flags)?,
        }
        if own {
            content.drain(..content.len().min(PAGE_SIZE));
        }
    }
    Ok(())
}

/// The TCS template, whose OSSA, OFSBASE and OGSBASE are relative to the TCS at `rva`
/// (SDM table 35-7 for the offsets).
fn tcs(template: &[u8], rva: u64) -> Vec<u8> {
    let mut tcs = template.to_vec();
    for field in [16, 48, 56] {
        if let Some(bytes) = tcs.get_mut(field..).and_then(<[u8]>::first_chunk_mut::<8>) {
            *bytes = u64::from_le_bytes(*bytes).wrapping_add(rva).to_le_bytes();
        }
    }
    tcs
}
