//! The VMSA: the register state with which a vCPU of an encrypted guest starts (AMD APM volume 2,
//! appendix B, table B-4: VMSA layout, state save area for SEV-ES).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A segment register.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct Segment {
    /// Selector.
    pub selector: U16,
    /// Attributes, packed to 12 bits.
    pub attributes: U16,
    /// Limit.
    pub limit: U32,
    /// Base.
    pub base: U64,
}

impl Segment {
    /// A segment of these values.
    pub fn new(selector: u16, attributes: u16, limit: u32, base: u64) -> Self {
        let (selector, attributes) = (selector.into(), attributes.into());
        Self { selector, attributes, limit: limit.into(), base: base.into() }
    }
}

/// The save area. What a launch never sets lies in the reserved fields, which the name gives by
/// their offset.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields carry the names of the manual")]
pub struct Vmsa {
    pub es: Segment,
    pub cs: Segment,
    pub ss: Segment,
    pub ds: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub gdtr: Segment,
    pub ldtr: Segment,
    pub idtr: Segment,
    pub tr: Segment,
    pub reserved_0a0: [u8; 42],
    pub vmpl: u8,
    pub cpl: u8,
    pub reserved_0cc: [u8; 4],
    pub efer: U64,
    pub reserved_0d8: [u8; 104],
    pub xss: U64,
    pub cr4: U64,
    pub cr3: U64,
    pub cr0: U64,
    pub dr7: U64,
    pub dr6: U64,
    pub rflags: U64,
    pub rip: U64,
    pub reserved_180: [u8; 88],
    pub rsp: U64,
    pub reserved_1e0: [u8; 24],
    pub rax: U64,
    pub reserved_200: [u8; 104],
    pub g_pat: U64,
    pub reserved_270: [u8; 120],
    pub pkru: U32,
    pub tsc_aux: U32,
    pub reserved_2f0: [u8; 24],
    pub rcx: U64,
    pub rdx: U64,
    pub rbx: U64,
    pub reserved_320: [u8; 8],
    pub rbp: U64,
    pub rsi: U64,
    pub rdi: U64,
    pub r8_to_r15: [U64; 8],
    pub reserved_380: [u8; 48],
    pub sev_features: U64,
    pub vintr_ctrl: U64,
    pub reserved_3c0: [u8; 8],
    pub virtual_tom: U64,
    pub reserved_3d0: [u8; 24],
    pub xcr0: U64,
    pub reserved_3f0: [u8; 16],
    pub x87_dp: U64,
    pub mxcsr: U32,
    pub x87_ftw: U16,
    pub x87_fsw: U16,
    pub x87_fcw: U16,
    pub reserved_412: [u8; 3054],
}

const _: () = assert!(size_of::<Vmsa>() == 4096);
const _: () = assert!(core::mem::offset_of!(Vmsa, vmpl) == 0xca);
const _: () = assert!(core::mem::offset_of!(Vmsa, efer) == 0xd0);
const _: () = assert!(core::mem::offset_of!(Vmsa, xss) == 0x140);
const _: () = assert!(core::mem::offset_of!(Vmsa, rip) == 0x178);
const _: () = assert!(core::mem::offset_of!(Vmsa, rsp) == 0x1d8);
const _: () = assert!(core::mem::offset_of!(Vmsa, rax) == 0x1f8);
const _: () = assert!(core::mem::offset_of!(Vmsa, g_pat) == 0x268);
const _: () = assert!(core::mem::offset_of!(Vmsa, pkru) == 0x2e8);
const _: () = assert!(core::mem::offset_of!(Vmsa, rdx) == 0x310);
const _: () = assert!(core::mem::offset_of!(Vmsa, sev_features) == 0x3b0);
const _: () = assert!(core::mem::offset_of!(Vmsa, virtual_tom) == 0x3c8);
const _: () = assert!(core::mem::offset_of!(Vmsa, xcr0) == 0x3e8);
const _: () = assert!(core::mem::offset_of!(Vmsa, mxcsr) == 0x408);
const _: () = assert!(core::mem::offset_of!(Vmsa, x87_fcw) == 0x410);

impl Vmsa {
    /// All registers zero.
    pub const ZERO: Self = zerocopy::transmute!([0_u8; 4096]);
}

/// Bits of `sev_features` by name (APM volume 2, table B-4, offset 3B0h).
pub const FEATURES: &[(u8, &str)] = &[
    (0, "SNPActive"),
    (1, "vTOM"),
    (2, "ReflectVC"),
    (3, "RestrictedInjection"),
    (4, "AlternateInjection"),
    (5, "DebugSwap"),
    (6, "PreventHostIBS"),
    (7, "SNPBTBIsolation"),
    (8, "VmplSSS"),
    (9, "SecureTSC"),
    (10, "VmgexitParameter"),
    (11, "PmcVirtualization"),
    (12, "IbsVirtualization"),
    (13, "GuestInterceptControl"),
    (14, "VmsaRegProt"),
    (15, "SmtProtection"),
    (16, "SecureAvic"),
    (21, "IbpbOnEntry"),
    (63, "AllowedSevFeatures"),
];
