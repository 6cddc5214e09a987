//! PCR 0: the PEI volume as it lies in memory when it is measured. Until memory is up its modules
//! run where they stand, so what they keep in global variables is measured with them.

use alloc::borrow::Cow;

use crate::format::fv::Volume;

/// `EFI_FV_FILETYPE_PEI_CORE` (PI 1.8, volume III, section 3.2.3.1).
const PEI_CORE: u8 = 0x04;

/// Port of the ACPI timer: PMBASE of q35 and the timer's offset, the same on Cloud Hypervisor (edk2
/// `OvmfPkg/Include/OvmfPlatforms.h`, `IndustryStandard/Acpi10.h`).
const TIMER_PORT: [u8; 4] = 0x608_u32.to_le_bytes();

/// `mov dword [rip + displacement], constant`: opcode, and size of the whole instruction.
const STORE: (&[u8], usize) = (&[0xc7, 0x05], 10);

/// In the code that moves SMBASE, which PlatformPei fills in where it stands (edk2-stable202408 on,
/// `UefiCpuPkg/Library/SmmRelocationLib/X64/SmmInit.nasm`): `mov cr0, eax` and the far jump behind it.
const SMM_TEMPLATE: &[u8] = &[0x0f, 0x22, 0xc0, 0x66, 0xea];

/// The volume with the port of the ACPI timer in the PEI core's variable for it. Up to
/// edk2-stable202502 the PEI core is linked with a timer library whose constructor
/// (`OvmfPkg/Library/AcpiTimerLib/BaseAcpiTimerLib.c`) stores it there; one of its branches stores a
/// constant, and that instruction tells where the variable is.
pub(super) fn as_it_runs<'a>(volume: &'a Volume<'_>) -> Cow<'a, [u8]> {
    let core = volume.files.iter().find(|file| file.kind == PEI_CORE);
    let variable = core.and_then(|core| {
        let code = volume.bytes.get(core.contents.clone())?;
        timer_variable(code)?.checked_add(core.contents.start)
    });
    let Some(at) = variable else { return Cow::Borrowed(&volume.bytes) };
    let mut bytes = volume.bytes.to_vec();
    bytes.splice(at..at + TIMER_PORT.len(), TIMER_PORT);
    Cow::Owned(bytes)
}

/// Why the volume of a firmware with management mode (`smm`) cannot be told beforehand, if so.
pub(super) fn unknown(volume: &Volume<'_>, acpi: bool, smm: bool) -> Option<&'static str> {
    let relocates = || memchr::memmem::find(&volume.bytes, SMM_TEMPLATE).is_some();
    match (acpi, smm && relocates()) {
        (false, _) => Some(
            "before edk2-stable202302 PlatformPei keeps what it finds out about the machine in the \
             volume, so only a boot tells",
        ),
        (true, true) => Some(
            "PlatformPei sets up management mode in the volume, with addresses and a number that \
             differs from boot to boot, so only the guest's own log tells",
        ),
        (true, false) => None,
    }
}

/// Offset in `code` of the variable that the timer's port is stored in: within it, and zero so far.
fn timer_variable(code: &[u8]) -> Option<usize> {
    let (opcode, size) = STORE;
    code.windows(size).enumerate().find_map(|(at, instruction)| {
        let displacement = instruction.strip_prefix(opcode)?.strip_suffix(&TIMER_PORT)?;
        let displacement = i32::from_le_bytes(displacement.try_into().ok()?);
        let target = (at + size).checked_add_signed(displacement.try_into().ok()?)?;
        (code.get(target..target + TIMER_PORT.len()) == Some(&[0; 4])).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_found_by_the_instruction_that_stores_to_it() {
        let mut code = alloc::vec![0x90; 64];
        code[8..18].copy_from_slice(&[0xc7, 5, 22, 0, 0, 0, 8, 6, 0, 0]);
        code[40..44].fill(0);
        assert_eq!(timer_variable(&code), Some(40));
        code[41] = 1;
        assert_eq!(timer_variable(&code), None);
        code[10..14].copy_from_slice(&1000i32.to_le_bytes());
        assert_eq!(timer_variable(&code), None);
        code[10..14].copy_from_slice(&(-19i32).to_le_bytes());
        assert_eq!(timer_variable(&code), None);
    }
}
