//! Where the firmware places what PCI devices offer: it shows in QEMU's ACPI tables when a device has
//! a 64-bit BAR or is a bridge (QEMU `hw/pci/pci.c`, `pci_bus_get_w64_range`). And which devices bring
//! the firmware a driver in their ROM, which it measures.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::session::Session;
use crate::format::option_rom;

/// Registers of a device's configuration (PCI Local Bus 3.0, section 6.1).
const IDENTITY: u32 = 0x00;
const COMMAND: u32 = 0x04;
const HEADER: u32 = 0x0c;
const BARS: u32 = 0x10;
const BUSES: u32 = 0x18;
const LAST_BAR: u32 = 0x24;
const ROM: u32 = 0x30;

/// `COMMAND`: the device answers at its ports and its memory.
const DECODE: u32 = 0x3;

/// `ROM`: the ROM answers at its address.
const ROM_ENABLE: u32 = 1;

/// Where a ROM is read: in the window of PCI memory, above that of PCI configuration.
const ROM_ADDRESS: u32 = 0xf000_0000;

/// What a 64-bit memory BAR has in its low bits.
const IS_64_BIT: (u32, u32) = (0b111, 0b100);

/// How long a firmware runs before it is looked at again, at least, and in all, at most. On a busy
/// machine looking takes longer than that, and the firmware gets twice as much.
const PAUSE: Duration = Duration::from_millis(700);
const LIMIT: Duration = Duration::from_secs(600);

/// A function of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Function {
    /// Its address for port 0xcf8.
    address: u32,
    /// It is a bridge, with this bus behind it; 0 before the firmware has numbered it.
    bridge: Option<u32>,
}

/// Numbers of the buses that are behind no bridge, of a machine whose firmware has not numbered any:
/// 0, and those of `pxb` devices, which QEMU counts for the firmware.
pub(super) fn roots(session: &mut Session) -> Result<Vec<u32>> {
    let mut found = vec![0];
    if session.file("etc/extra-pci-roots")?.iter().any(|byte| *byte != 0) {
        for bus in 1..=0xff {
            if !functions(session, bus)?.is_empty() {
                found.push(bus);
            }
        }
    }
    Ok(found)
}

/// The first device whose place shows in the tables, in words.
pub(super) fn depends_on_firmware(session: &mut Session, roots: &[u32]) -> Result<Option<String>> {
    if let [_, extra, ..] = roots {
        return Ok(Some(format!("PCI bus {extra:02x} is another root")));
    }
    for function in functions(session, 0)? {
        let what = match (function.bridge, wide_bars(session, function)?.is_empty()) {
            (Some(_), _) => "a bridge",
            (None, false) => "a device with a 64-bit BAR",
            (None, true) => continue,
        };
        let (slot, number) = (function.address >> 11 & 0x1f, function.address >> 8 & 7);
        return Ok(Some(format!("PCI device {slot:02x}.{number} is {what}")));
    }
    Ok(None)
}

/// Lets the firmware run until it has placed what PCI devices offer, every 64-bit BAR included, and
/// what it placed stays; and has all devices answer there, as the firmware does while it reads the
/// tables.
pub(super) fn wait_until_placed(session: &mut Session, roots: &[u32]) -> Result<()> {
    let start = Instant::now();
    let (mut before, mut saved, mut pause) = (None, None, PAUSE);
    loop {
        session.let_run(pause, &mut saved)?;
        let looking = Instant::now();
        let all = below(session, roots)?;
        let (mut wide, mut narrow) = (Vec::new(), Vec::new());
        for function in &all {
            wide.extend(wide_bars(session, *function)?);
            narrow.push(session.read_config(function.address | LAST_BAR)?);
        }
        let numbered = all.iter().all(|function| function.bridge != Some(0));
        let sensible = wide.iter().all(|bar| (1..u64::MAX >> 1).contains(&(bar & !0xf)));
        // The chipset's own disk controller has its memory in the last BAR.
        let begun =
            !wide.is_empty() || narrow.iter().any(|bar| (0x1000..0xffff_f000).contains(bar));
        let found = (numbered && sensible && begun).then_some((wide, narrow));
        if found.is_some() && found == before {
            return all.iter().try_for_each(|function| decode(session, *function).map(drop));
        }
        before = found;
        pause = PAUSE.max(2 * looking.elapsed());
        if start.elapsed() > LIMIT {
            bail!("the firmware has not placed its PCI devices after {} s", LIMIT.as_secs());
        }
    }
}

/// ROMs of devices that bring a driver for the firmware, by `bus:slot.function`. They are read on bus
/// 0; elsewhere each device that has one is named, with nothing in it.
pub(super) fn option_roms(session: &mut Session, roots: &[u32]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for function in below(session, roots)?.iter().filter(|function| function.bridge.is_none()) {
        let (address, bus) = (function.address, function.address >> 16 & 0xff);
        let register = address | ROM;
        let before = session.read_config(register)?;
        session.write_config(register, !ROM_ENABLE, false)?;
        let mask = session.read_config(register)? & !ROM_ENABLE;
        let rom = match (mask, bus) {
            (0, _) => None,
            (_, 0) => {
                let command = decode(session, *function)?;
                session.write_config(register, ROM_ADDRESS | ROM_ENABLE, false)?;
                let size = usize::try_from(mask.wrapping_neg())?;
                let rom = session.memory(ROM_ADDRESS.into(), size)?;
                session.write_config(address | COMMAND, command, false)?;
                let has_driver = option_rom::drivers(&rom).is_ok_and(|found| !found.is_empty());
                has_driver.then_some(rom)
            }
            _ => Some(Vec::new()),
        };
        session.write_config(register, before, false)?;
        if let Some(rom) = rom {
            let (slot, number) = (address >> 11 & 0x1f, address >> 8 & 7);
            found.push((format!("{bus:02x}:{slot:02x}.{number}"), rom));
        }
    }
    Ok(found)
}

/// Has a device answer at its ports and its memory, and returns what its command register held.
fn decode(session: &mut Session, function: Function) -> Result<u32> {
    let command = session.read_config(function.address | COMMAND)? & 0xffff;
    session.write_config(function.address | COMMAND, command | DECODE, false)?;
    Ok(command)
}

/// Every function on the buses `roots` and behind their bridges.
fn below(session: &mut Session, roots: &[u32]) -> Result<Vec<Function>> {
    let all: Result<Vec<_>> = roots.iter().map(|bus| functions(session, *bus)).collect();
    Ok(all?.concat())
}

/// Every function on `bus` and behind its bridges.
fn functions(session: &mut Session, bus: u32) -> Result<Vec<Function>> {
    let mut found = Vec::new();
    for slot in 0..32 {
        for number in 0..8 {
            let address = 0x8000_0000 | bus << 16 | slot << 11 | number << 8;
            if session.read_config(address | IDENTITY)? & 0xffff == 0xffff {
                if number == 0 {
                    break;
                }
                continue;
            }
            let header = session.read_config(address | HEADER)? >> 16 & 0xff;
            let bridge = match header & 0x7f {
                1 => Some(session.read_config(address | BUSES)? >> 8 & 0xff),
                _ => None,
            };
            found.push(Function { address, bridge });
            if let Some(behind) = bridge.filter(|behind| *behind > bus) {
                found.extend(functions(session, behind)?);
            }
            if number == 0 && header & 0x80 == 0 {
                break;
            }
        }
    }
    Ok(found)
}

/// The 64-bit BARs of a function, both halves.
fn wide_bars(session: &mut Session, function: Function) -> Result<Vec<u64>> {
    let count = if function.bridge.is_some() { 2 } else { 6 };
    let mut found = Vec::new();
    let mut number = 0;
    while number < count {
        let at = |number: u32| function.address | (BARS + 4 * number);
        let low = session.read_config(at(number))?;
        number += 1;
        if low & IS_64_BIT.0 == IS_64_BIT.1 {
            let high = session.read_config(at(number))?;
            found.push(u64::from(high) << 32 | u64::from(low));
            number += 1;
        }
    }
    Ok(found)
}
