//! The command line of a UKI, and what of it goes into PCR 12: what the image does not carry
//! (systemd `src/boot/stub.c`: `process_arguments`, `settle_command_line`,
//! `cmdline_append_and_measure_smbios`; `src/boot/console.c`).

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::{NEWEST, PROFILES, Uki};
use crate::format::efi::wide;
use crate::format::eventlog::{EV_EVENT_TAG, EV_IPL};
use crate::measure::event::{Banks, Step};
use crate::measure::{Error, Result};

/// What the stub meets outside the image.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outside<'a> {
    /// SMBIOS structures that QEMU gives, where known.
    pub smbios: Option<&'a [&'a [u8]]>,
    /// The firmware has verified the image: Secure Boot is on.
    pub verified: bool,
    /// The guest is confidential, and takes nothing from SMBIOS.
    pub confidential: bool,
    /// The VMM's command line, which the firmware passes as load options.
    pub options: &'a str,
}

/// The command line that the kernel gets.
pub(super) struct CommandLine {
    /// What of it comes from outside the image: PCR 12.
    pub(super) measured: Vec<Step>,
    /// As the kernel gets it, or an event that cannot be told.
    pub(super) load_options: core::result::Result<String, Step>,
}

/// Mark of an SMBIOS string (type 11) with more command line, and the first stub that reads it.
const EXTRA: (&str, u32) = ("io.systemd.stub.kernel-cmdline-extra=", 254);

/// The first version that strips white space before the command line too.
const STRIPS: u32 = 255;

impl Uki<'_> {
    /// The profile that the options begin with (`@1`), with the event of a choice.
    pub(super) fn profile(
        &self,
        banks: &Banks,
        outside: &Outside<'_>,
        since: u32,
    ) -> Result<(usize, Vec<Step>)> {
        let (profile, _) = chosen(outside.options, since);
        if profile == 0 {
            return Ok((0, Vec::new()));
        }
        let known = self.pe.sections.iter().filter(|section| section.name == ".profile").count();
        if profile >= known {
            let what = format!("profile @{profile} of a UKI with {known}");
            let why = "the stub finds no such `.profile` section and does not boot".to_string();
            return Err(Error::Unsupported { what, why });
        }
        let text = profile.to_string();
        let bytes = [wide(&text), alloc::vec![0, 0]].concat();
        Ok((profile, alloc::vec![banks.step(12, EV_EVENT_TAG, format!("profile {text}"), &bytes)]))
    }

    /// The command line: the VMM's where the stub takes it, or else that of the image, with what
    /// SMBIOS adds.
    pub(super) fn command_line(
        &self,
        banks: &Banks,
        profile: usize,
        input: &'static str,
        outside: &Outside<'_>,
    ) -> Result<CommandLine> {
        let since = self.version.unwrap_or(NEWEST);
        let own = self.section(".cmdline", profile, input)?;
        let options = settled(chosen(outside.options, since).1, since);
        let refused = outside.verified && (own.is_some() || outside.confidential);
        let mut measured = Vec::new();
        let mut line = match own {
            _ if !options.is_empty() && !refused => {
                measured.push(from_outside(banks, &options));
                options
            }
            Some(section) => {
                let text = section.split(|byte| *byte == 0).next().unwrap_or_default();
                settled(&String::from_utf8_lossy(text), since)
            }
            None => return Err(without_command_line()),
        };
        let extra = oem_string(outside.smbios.unwrap_or_default(), EXTRA.0);
        if let Some(extra) = extra.filter(|_| since >= EXTRA.1 && !outside.confidential) {
            let extra = settled(&extra, since);
            measured.push(from_outside(banks, &extra));
            line = if line.is_empty() { extra } else { format!("{line} {extra}") };
        }
        let guesses = self.carries("console=hvc0");
        let load_options = match guesses && !line.split(' ').any(|w| w.starts_with("console=")) {
            true => {
                let why = "this systemd-stub adds `console=` for the console that it finds; state \
                           one in the command line";
                Err(Step::unknown(9, EV_EVENT_TAG, "load options", why))
            }
            false => Ok(line),
        };
        Ok(CommandLine { measured, load_options })
    }
}

/// Text from outside the image, in UTF-16 with its terminator (`tpm_log_load_options`).
fn from_outside(banks: &Banks, text: &str) -> Step {
    let bytes = [wide(text), alloc::vec![0, 0]].concat();
    banks.step(12, EV_IPL, format!("command line from outside the UKI `{text}`"), &bytes)
}

fn without_command_line() -> Error {
    Error::Unsupported {
        what: "a UKI without section `.cmdline`".to_string(),
        why: "its command line comes from outside the image: give --cmdline".to_string(),
    }
}

/// The number behind an `@` at the start of the options, and what follows it and one space.
fn chosen(options: &str, since: u32) -> (usize, &str) {
    let digits = options.strip_prefix('@').filter(|_| since >= PROFILES).unwrap_or_default();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    match (number.parse(), rest.strip_prefix(' ')) {
        (Ok(profile), Some(rest)) => (profile, rest),
        (Ok(profile), None) if rest.is_empty() => (profile, rest),
        _ => (0, options),
    }
}

/// A command line as the stub passes it: control characters become spaces, and none are left at its
/// ends (`mangle_stub_cmdline`).
fn settled(text: &str, since: u32) -> String {
    let white = [' ', '\t', '\n', '\r'];
    let text = if since < STRIPS { text } else { text.trim_start_matches(white) };
    let text: String = text.chars().map(|c| if c <= '\u{1f}' { ' ' } else { c }).collect();
    text.trim_end_matches(' ').to_string()
}

/// What follows `mark` in the first OEM string (SMBIOS 3.7 section 7.12) that begins with it.
fn oem_string(structures: &[&[u8]], mark: &str) -> Option<String> {
    let strings = structures.iter().filter(|one| one.first() == Some(&11)).filter_map(|one| {
        let formatted = usize::from(*one.get(1)?);
        one.get(formatted..)
    });
    let mut strings = strings.flat_map(|area| area.split(|byte| *byte == 0));
    let found = strings.find_map(|text| text.strip_prefix(mark.as_bytes()))?;
    Some(String::from_utf8_lossy(found).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_stands_before_one_space() {
        assert_eq!(chosen("@2 quiet", 257), (2, "quiet"));
        assert_eq!(chosen("@2", 257), (2, ""));
        assert_eq!(chosen("@2  quiet", 257), (2, " quiet"));
        for (options, since) in [("@2x quiet", 257), ("@ quiet", 257), ("@2 quiet", 256)] {
            assert_eq!(chosen(options, since), (0, options));
        }
    }

    #[test]
    fn white_space_is_settled_as_the_version_does() {
        assert_eq!(settled(" a\tb\n", 252), " a b");
        assert_eq!(settled(" a\tb\n", 257), "a b");
        assert_eq!(settled("é\u{7f}", 257), "é\u{7f}");
    }

    #[test]
    fn oem_strings_are_found_by_their_mark() {
        let one: &[u8] =
            b"\x0b\x05\x00\x00\x02first=1\0io.systemd.stub.kernel-cmdline-extra=a b\0\0";
        assert_eq!(oem_string(&[b"\x01", one], EXTRA.0).as_deref(), Some("a b"));
        assert_eq!(oem_string(&[one], "other="), None);
    }
}
