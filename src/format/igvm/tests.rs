//! Files that the tests write, and break field by field.

use igvm_defs::{
    IGVM_FIXED_HEADER, IGVM_VHS_GUEST_POLICY, IGVM_VHS_PAGE_DATA, IGVM_VHS_PARAMETER_AREA,
    IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_SUPPORTED_PLATFORM, IGVM_VHS_VP_CONTEXT, IgvmPageDataFlags,
};
use zerocopy::{Immutable, IntoBytes};

use super::*;

/// A file as it is being written: headers, and the pages behind them.
#[derive(Default)]
pub(crate) struct Writer {
    headers: Vec<u8>,
    data: Vec<Vec<u8>>,
    /// Where in `headers` an offset into the data stands.
    offsets: Vec<(usize, usize)>,
}

impl Writer {
    pub(crate) fn header(&mut self, kind: Type, body: &(impl IntoBytes + Immutable)) -> &mut Self {
        self.headers.extend(kind.0.to_le_bytes());
        self.headers.extend(u32::try_from(body.as_bytes().len()).expect("short").to_le_bytes());
        self.headers.extend(body.as_bytes());
        self.headers.resize(self.headers.len().next_multiple_of(8), 0);
        self
    }

    pub(crate) fn platform(&mut self, mask: u32, kind: PlatformType) -> &mut Self {
        let body = IGVM_VHS_SUPPORTED_PLATFORM {
            compatibility_mask: mask,
            highest_vtl: 0,
            platform_type: kind,
            platform_version: 1,
            shared_gpa_boundary: 0,
        };
        self.header(Type::IGVM_VHT_SUPPORTED_PLATFORM, &body)
    }

    pub(crate) fn policy(&mut self, mask: u32, policy: u64) -> &mut Self {
        let body = IGVM_VHS_GUEST_POLICY { policy, compatibility_mask: mask, reserved: 0 };
        self.header(Type::IGVM_VHT_GUEST_POLICY, &body)
    }

    /// Remembers that the last header but `back` bytes holds the offset of `page`.
    fn holds(&mut self, page: Vec<u8>, back: usize) {
        self.offsets.push((self.headers.len() - back, self.data.len()));
        self.data.push(page);
    }

    /// A normal page; `data` begins it, or is empty for a page that the file does not hold.
    pub(crate) fn page(&mut self, mask: u32, gpa: u64, flags: u32, data: &[u8]) -> &mut Self {
        self.page_of(PageType::NORMAL, (mask, gpa, flags), data)
    }

    pub(crate) fn page_of(
        &mut self,
        data_type: PageType,
        (mask, gpa, flags): (u32, u64, u32),
        data: &[u8],
    ) -> &mut Self {
        let body = IGVM_VHS_PAGE_DATA {
            gpa,
            compatibility_mask: mask,
            file_offset: 0,
            flags: IgvmPageDataFlags::from(flags),
            data_type,
            reserved: 0,
        };
        self.header(Type::IGVM_VHT_PAGE_DATA, &body);
        if !data.is_empty() {
            let mut page = data.to_vec();
            page.resize(PAGE, 0);
            self.holds(page, size_of::<IGVM_VHS_PAGE_DATA>() - 12);
        }
        self
    }

    pub(crate) fn area(&mut self, index: u32, size: u64) -> &mut Self {
        let body = IGVM_VHS_PARAMETER_AREA {
            number_of_bytes: size,
            parameter_area_index: index,
            file_offset: 0,
        };
        self.header(Type::IGVM_VHT_PARAMETER_AREA, &body)
    }

    pub(crate) fn insert(&mut self, mask: u32, index: u32, gpa: u64) -> &mut Self {
        let body = IGVM_VHS_PARAMETER_INSERT {
            gpa,
            compatibility_mask: mask,
            parameter_area_index: index,
        };
        self.header(Type::IGVM_VHT_PARAMETER_INSERT, &body)
    }

    pub(crate) fn vp(&mut self, mask: u32, index: u16, gpa: u64, state: Vec<u8>) -> &mut Self {
        let body = IGVM_VHS_VP_CONTEXT {
            gpa: gpa.into(),
            compatibility_mask: mask,
            file_offset: 0,
            vp_index: index,
            reserved: 0,
        };
        self.header(Type::IGVM_VHT_VP_CONTEXT, &body);
        self.holds(state, size_of::<IGVM_VHS_VP_CONTEXT>().next_multiple_of(8) - 12);
        self
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let start = size_of::<IGVM_FIXED_HEADER>();
        let (mut headers, end) = (self.headers.clone(), start + self.headers.len());
        for (place, page) in &self.offsets {
            let at = u32::try_from(end + page * PAGE).expect("short");
            headers[*place..*place + 4].copy_from_slice(&at.to_le_bytes());
        }
        let number = |n: usize| u32::try_from(n).expect("short");
        let mut fixed = IGVM_FIXED_HEADER {
            magic: IGVM_MAGIC_VALUE,
            format_version: 1,
            variable_header_offset: number(start),
            variable_header_size: number(headers.len()),
            total_file_size: number(end + self.data.len() * PAGE),
            checksum: 0,
        };
        let whole = |fixed: &IGVM_FIXED_HEADER| [fixed.as_bytes(), &headers].concat();
        fixed.checksum = checksum_of(fixed.as_bytes(), &headers);
        [whole(&fixed), self.data.concat()].concat()
    }
}

/// Writes the checksum anew after a change.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let size = usize::try_from(u32::from_le_bytes(bytes[12..16].try_into().expect("four")));
    let (fixed, rest) = bytes.split_at(24);
    let checksum = checksum_of(fixed, &rest[..size.expect("small")]);
    bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn sound() -> Writer {
    let mut file = Writer::default();
    file.platform(1, PlatformType::SEV_SNP).policy(1, 0x3_0000).area(0, 8192);
    file.page(1, 0x1000, 0, &[7; PAGE]).page(1, 0x2000, 2, &[]).insert(1, 0, 0x5000);
    file.vp(1, 0, 0xffff_ffff_f000, vec![3; PAGE]);
    file
}

#[test]
fn every_directive_is_read() {
    let bytes = sound().bytes();
    let file = File::parse(&bytes).expect("a sound file");
    assert_eq!(file.mask(PlatformType::SEV_SNP), Some(1));
    assert_eq!(file.mask(PlatformType::TDX), None);
    let actions: Vec<_> = file.directives.iter().map(|d| d.action.clone()).collect();
    let page = |gpa, data, unmeasured| {
        let kind = PageType::NORMAL;
        Action::Page(Page { gpa, large: false, data, unmeasured, shared: false, kind })
    };
    assert_eq!(
        actions,
        [
            Action::Policy(0x3_0000),
            Action::Area { index: 0, size: 8192 },
            page(0x1000, Some(&[7; PAGE]), false),
            page(0x2000, None, true),
            Action::Insert { index: 0, gpa: 0x5000 },
            Action::Vp { index: 0, gpa: 0xffff_ffff_f000, state: &[3; PAGE] },
        ]
    );
}

#[test]
fn every_broken_field_has_its_offset() {
    let bytes = sound().bytes();
    let file = File::parse(&bytes).expect("a sound file");
    // Offsets of the headers; a header's body lies 8 bytes behind.
    let at: Vec<_> = file.directives.iter().map(|d| d.offset).collect();
    let broken = |at: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    for (bytes, expected) in [
        (vec![], "the fixed header at byte offset 0x0 needs 24 bytes".to_string()),
        (broken(0, b"VIGM"), "magic of the file at byte offset 0x0".into()),
        (broken(4, &[3]), "format version at byte offset 0x4".into()),
        (broken(4, &[2]), "architecture at byte offset 0x18".into()),
        (broken(8, &[28]), "offset of the variable headers at byte offset 0x8".into()),
        (broken(12, &[0, 0, 1]), "the variable headers at byte offset 0x18".into()),
        (broken(16, &[0]), "size of the file at byte offset 0x10".into()),
        (broken(20, &[0]), "checksum at byte offset 0x14".into()),
        (broken(at[0] + 4, &[9]), format!("a guest policy at byte offset {:#x}", at[0] + 4)),
        (
            broken(at[1] + 11, &[1]),
            format!("size of a parameter area at byte offset {:#x}", at[1] + 8),
        ),
        (broken(at[2] + 8, &[1]), format!("address of a page at byte offset {:#x}", at[2] + 8)),
        (broken(at[2] + 20, &[0xff; 3]), "data of a page at byte offset 0xffff".into()),
        (broken(at[2] + 24, &[8]), format!("flags of a page at byte offset {:#x}", at[2] + 24)),
        (
            broken(at[2] + 24, &[1]),
            format!("address of a large page at byte offset {:#x}", at[2] + 8),
        ),
        (broken(at[2] + 28, &[4]), format!("type of a page at byte offset {:#x}", at[2] + 28)),
        (broken(at[4] + 8, &[8]), format!("address of a page at byte offset {:#x}", at[4] + 8)),
        (broken(at[5] + 4, &[0xff; 4]), "a header at byte offset".into()),
        (broken(at[5] + 20, &[0xff; 3]), "a vCPU's state at byte offset 0xffff".into()),
    ] {
        let needs_seal = bytes.len() > 24 && !expected.starts_with("checksum");
        let sizes = expected.contains("the variable headers");
        let bytes = if needs_seal && !sizes { sealed(bytes) } else { bytes };
        let message = File::parse(&bytes).expect_err(&expected).to_string();
        assert!(message.contains(&expected), "{expected}: {message}");
    }
}

/// `bytes` of version 1 as version 2 has them, data moved behind the longer header.
fn second(bytes: &[u8], [architecture, page_size]: [u32; 2]) -> Vec<u8> {
    let headers = bytes[12..16].try_into().map(u32::from_le_bytes).expect("four") as usize;
    let (fixed, rest) = bytes.split_at(24);
    let (headers, data) = rest.split_at(headers);
    let mut fixed = [fixed, &architecture.to_le_bytes(), &page_size.to_le_bytes()].concat();
    let total = u32::try_from(bytes.len() + 8).expect("short");
    for (at, number) in [(4, 2_u32), (8, 32), (16, total), (20, 0)] {
        fixed[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    let checksum = checksum_of(&fixed, headers);
    fixed[20..24].copy_from_slice(&checksum.to_le_bytes());
    [&fixed, headers, data].concat()
}

#[test]
fn version_2_has_a_longer_header() {
    let mut file = Writer::default();
    let one = file.platform(1, PlatformType::SEV_SNP).page(1, 0x1000, 0, &[]).bytes();
    let two = second(&one, [0, 4096]);
    let mut expected = File::parse(&one).expect("a sound file");
    expected.directives.iter_mut().for_each(|directive| directive.offset += 8);
    assert_eq!(File::parse(&two), Ok(expected));
    for (header, expected) in [
        ([1, 4096], "architecture at byte offset 0x18"),
        ([0, 65536], "size of a page at byte offset 0x1c"),
    ] {
        let message = File::parse(&second(&one, header)).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    }
}
