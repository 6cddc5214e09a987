//! `guestsmith measure`: files and machines in, registers out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use super::emit::{Emit, forms};
use super::failure::Failure;
use super::snp::Snp;
use super::{Answer, Outcome, Session};
use crate::assemble::acpi;
use crate::digest;
use crate::measure::machine::Kind;
use crate::measure::{self, File, Guest, Machine, Measurement, Setting, TEES, Tee};
use crate::reference::{self, Emitter};
use crate::store::Store;

/// Compute the registers that a guest will report, for each machine
///
/// Settings that are lists multiply: `--vcpus 1,2 --cpu EPYC-Milan,EPYC-Genoa` is four machines.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith measure --tee sev-snp --firmware OVMF.amdsev.fd --kernel vmlinuz --initrd initrd \\
      --cmdline console=ttyS0 --vcpus 1,2,4 --cpu EPYC-Milan,EPYC-Genoa")]
pub(super) struct Measure {
    /// The TEE
    #[arg(long, value_name = "TEE", value_parser = names())]
    tee: String,
    /// VMMs, each with its version where it matters: qemu@10.1
    #[arg(long, value_name = "VMM", value_delimiter = ',')]
    vmm: Vec<String>,
    /// Form of the values: text for people, or a form of reference values
    #[arg(long, value_name = "FORM", default_value = "hex", value_parser = forms(TEXTS))]
    format: String,
    /// A QEMU on this machine: read the fw_cfg files of each machine from it, instead of --acpi
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    qemu: Option<PathBuf>,
    /// Arguments that shape the machine for --qemu, separated by spaces: '-machine q35,smm=off'
    #[arg(long, value_name = "ARGUMENTS", help_heading = "Guest", requires = "qemu")]
    #[arg(allow_hyphen_values = true)]
    qemu_arguments: Option<String>,
    /// Write the files read by --qemu there, to be given to --acpi where there is no QEMU
    #[arg(long, value_name = "FILE", help_heading = "Guest", requires = "qemu")]
    save_acpi: Option<PathBuf>,
    /// A warning is an error
    #[arg(long)]
    strict: bool,
    /// Show the digests that went into the values as well
    #[arg(long)]
    parts: bool,
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    emit: Emit,
    #[command(flatten)]
    snp: Snp,
}

/// Text forms, beside those of `reference::EMITTERS`.
const TEXTS: &[(&str, &str)] =
    &[("hex", "Lower-case hexadecimal"), ("base64", "Base64 of the value's bytes")];

/// A machine and what was found for it.
type Shown<'a> = (&'a Machine, &'a Measurement);

fn names() -> clap::builder::PossibleValuesParser {
    TEES.iter().map(|tee| clap::builder::PossibleValue::new(tee.name).help(tee.about)).into()
}

impl Measure {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let tee = measure::tee(&self.tee).map_err(Failure::usage)?;
        self.snp.check(tee)?;
        let machines = self.given.machines(tee, &self.vmm)?;
        let mut files = self.given.read(tee)?;
        files.extend(self.read_from_qemu(session, tee, &machines)?);
        let guest = guest(&files);
        let precomputed = self.snp.precomputed(session, &guest)?;
        let guest = Guest { precomputed: precomputed.as_ref(), ..guest };
        let found = (tee.expect)(&guest, &machines).map_err(Failure::input)?;
        self.snp.dump(tee, &guest, machines.first())?;
        let shown: Vec<_> = machines.iter().zip(&found).collect();
        self.warn(session, &found)?;
        if let Ok(form) = reference::emitter(&self.format) {
            return self.emit(session, form, tee, &shown);
        }
        let json = answer(tee, &shown)?;
        session.output.answer(&json, || self.text(tee, &shown, session.global.quiet))?;
        Ok(Answer::Yes)
    }

    /// fw_cfg files of `machines`, out of the QEMU that was named.
    fn read_from_qemu(
        &self,
        session: &Session,
        tee: &Tee,
        machines: &[Machine],
    ) -> Result<Option<(&'static str, Vec<u8>)>, Failure> {
        let Some(program) = &self.qemu else { return Ok(None) };
        if !tee.reads.iter().any(|file| file.name == "acpi")
            || self.given.files.iter().any(|(name, _)| name == "acpi")
        {
            let what = "--qemu stands for --acpi, of a TEE that reads it";
            return Err(Failure::usage(anyhow::anyhow!(what)));
        }
        if machines.iter().any(|machine| machine.memory.is_none()) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--qemu needs --memory: the tables tell it"
            )));
        }
        let path = |name| {
            let given = self.given.files.iter().find(|(known, _)| known == name);
            given.map(|(_, path)| PathBuf::from(path))
        };
        let (firmware, vars) = (path("firmware"), path("vars"));
        let words = self.qemu_arguments.as_deref().unwrap_or_default().split_whitespace();
        let arguments: Vec<_> = words.map(str::to_string).collect();
        let one = |machine: &Machine| acpi::qemu::Machine {
            qemu: program.clone(),
            vcpus: machine.vcpus.unwrap_or(1),
            memory: machine.memory.unwrap_or_default(),
            tpm: tee.name == "vtpm",
            arguments: arguments.clone(),
            firmware: firmware.clone(),
            vars: vars.clone(),
        };
        let wanted: Vec<_> = machines.iter().map(one).collect();
        let store = Store::open(&session.store()?)?;
        let bundle = acpi::qemu::read(session.host(), &store, &wanted)?;
        if let Some(file) = &self.save_acpi {
            fs::write(file, &bundle).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(Some(("acpi", bundle)))
    }

    fn warn(&self, session: &Session, found: &[Measurement]) -> Result<(), Failure> {
        let warnings: BTreeSet<_> = found.iter().flat_map(|m| &m.warnings).collect();
        match warnings.first() {
            Some(first) if self.strict => Err(Failure::input(anyhow::anyhow!("{first}"))),
            _ => {
                warnings.iter().for_each(|warning| session.output.warn(warning));
                Ok(())
            }
        }
    }

    /// Prints a form of reference values.
    fn emit(&self, session: &Session, form: &Emitter, tee: &Tee, shown: &[Shown<'_>]) -> Outcome {
        let entry =
            |(machine, found): &Shown<'_>| reference::Machine::new(tee.name, machine, found);
        let document = reference::Document::of_machines(shown.iter().map(entry).collect());
        let settings = self.emit.settings()?;
        let emitted = form.emit(&document, &settings).map_err(Failure::input)?;
        emitted.warnings.iter().for_each(|warning| session.output.warn(warning));
        session.output.raw(&emitted.content)?;
        Ok(Answer::Yes)
    }

    fn text(&self, tee: &Tee, shown: &[Shown<'_>], bare: bool) -> String {
        let form = |value: &[u8]| match self.format.as_str() {
            "base64" => digest::base64(value),
            _ => digest::hex(value),
        };
        let mut lines = Vec::new();
        for (machine, measurement) in shown {
            let parts = measurement.parts.iter().filter(|_| self.parts);
            let values = measurement.registers.iter().chain(parts);
            if bare {
                lines.extend(values.map(|value| form(&value.value)));
                continue;
            }
            lines.push(reference::Machine::new(tee.name, machine, measurement).label());
            lines.extend(values.map(|v| format!("  {:<14} {}", v.name, form(&v.value))));
            for one in &measurement.candidates {
                let value = form(&one.value);
                lines.push(format!(
                    "  {:<14} {value} ({})",
                    format!("{}?", one.register),
                    one.when
                ));
            }
            let epoch = measurement.epoch.as_ref();
            lines.extend(epoch.map(|epoch| format!("  {:<14} edk2 {epoch}", "firmware")));
        }
        lines.join("\n")
    }
}

/// The answer as JSON; `events` and `warnings` are there even where they are empty.
fn answer(tee: &Tee, shown: &[Shown<'_>]) -> Result<Value, Failure> {
    let one = |(machine, measurement): &Shown<'_>| {
        let entry = reference::Machine::new(tee.name, machine, measurement);
        let mut value = serde_json::to_value(entry).map_err(Failure::internal)?;
        let parts: BTreeMap<_, _> =
            measurement.parts.iter().map(|p| (&p.name, digest::hex(&p.value))).collect();
        value["parts"] = json!(parts);
        for list in ["events", "warnings"] {
            if value[list].is_null() {
                value[list] = json!([]);
            }
        }
        Ok::<_, Failure>(value)
    };
    let machines: Vec<_> = shown.iter().map(one).collect::<Result<_, _>>()?;
    Ok(json!({ "machines": machines }))
}

/// Files by name, in the order of the command line; the guest borrows from them.
pub(super) type Files = Vec<(&'static str, Vec<u8>)>;

pub(super) fn guest<'a>(files: &'a Files) -> Guest<'a> {
    let mut guest = Guest::default();
    for (name, bytes) in files {
        match guest.place(name) {
            Some(place) => *place = Some(bytes),
            None if *name == "cmdline" => guest.cmdline = std::str::from_utf8(bytes).ok(),
            None => guest.others.push((name, bytes)),
        }
    }
    guest
}

/// Flags that the tables of TEEs ask for.
#[derive(Debug, Default)]
pub(super) struct Given {
    files: Vec<(String, String)>,
    settings: BTreeMap<String, Vec<String>>,
}

/// Every file and setting of every TEE once, in the order of the tables.
fn once<T: Copy + 'static>(
    lists: fn(&Tee) -> &'static [T],
    name: fn(&T) -> &'static str,
) -> Vec<(T, Vec<&'static str>)> {
    let mut found: Vec<(T, Vec<&'static str>)> = Vec::new();
    for tee in TEES {
        for item in lists(tee) {
            match found.iter_mut().find(|(known, _)| name(known) == name(item)) {
                Some((_, tees)) => tees.push(tee.name),
                None => found.push((*item, vec![tee.name])),
            }
        }
    }
    found
}

fn files() -> Vec<(File, Vec<&'static str>)> {
    once(|tee| tee.reads, |file| file.name)
}

fn settings() -> Vec<(Setting, Vec<&'static str>)> {
    once(|tee| tee.takes, |setting| setting.name)
}

fn for_tees(about: &str, tees: &[&str]) -> String {
    match tees.len() == TEES.len() {
        true => about.to_string(),
        false => format!("{about} [{}]", tees.join(" ")),
    }
}

impl Given {
    /// The machines that the settings multiply to.
    pub(super) fn machines(&self, tee: &Tee, vmm: &[String]) -> Result<Vec<Machine>, Failure> {
        let mut given = self.settings.clone();
        given.insert("vmm".to_string(), vmm.to_vec());
        measure::machines(tee, &given).map_err(Failure::usage)
    }

    pub(super) fn read(&self, tee: &Tee) -> Result<Files, Failure> {
        let mut files = Files::new();
        for (name, value) in &self.files {
            let Some(file) = tee.reads.iter().find(|file| file.name == name) else {
                let known: Vec<_> = tee.reads.iter().map(|file| file.name).collect();
                let what = format!("{} reads no --{name}; it reads {}", tee.name, known.join(", "));
                return Err(Failure::usage(anyhow::anyhow!(what)));
            };
            let bytes = match name.as_str() {
                "cmdline" => value.clone().into_bytes(),
                "acpi" => acpi::bundle(value.as_ref())?,
                _ => fs::read(value).with_context(|| format!("cannot read {value}"))?,
            };
            files.push((file.name, bytes));
        }
        Ok(files)
    }
}

impl clap::Args for Given {
    fn augment_args(command: Command) -> Command {
        let file = |(file, tees): (File, Vec<_>)| {
            let value = if file == measure::guest::CMDLINE { "STRING" } else { "FILE" };
            let help = for_tees(file.about, &tees);
            let arg = Arg::new(file.name).long(file.name).help(help).value_name(value);
            let several = Guest::default().place(file.name).is_none() && value == "FILE";
            let action = if several { ArgAction::Append } else { ArgAction::Set };
            arg.action(action).help_heading("Guest")
        };
        let setting = |(setting, tees): (Setting, Vec<_>)| {
            let help = for_tees(setting.about, &tees);
            let arg = Arg::new(setting.name).long(setting.name).help(help);
            let arg = arg.action(ArgAction::Append).help_heading("Machine");
            match setting.kind {
                Kind::Flag => {
                    arg.num_args(0..=1).require_equals(true).default_missing_value("true")
                }
                Kind::Text => arg.value_name("TEXT"),
                _ => arg.value_delimiter(',').value_name("LIST"),
            }
        };
        command.args(files().into_iter().map(file)).args(settings().into_iter().map(setting))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (file, _) in files() {
            let values = matches.get_many::<String>(file.name).into_iter().flatten();
            self.files.extend(values.map(|value| (file.name.to_string(), value.clone())));
        }
        for (setting, _) in settings() {
            if let Some(values) = matches.get_many::<String>(setting.name) {
                self.settings.insert(setting.name.to_string(), values.cloned().collect());
            }
        }
        Ok(())
    }
}
