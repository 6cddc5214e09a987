//! `guestsmith measure`: files and machines in, registers out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::build::Build;
use super::contents::Contents;
use super::emit::{Emit, forms};
use super::failure::Failure;
use super::host_keys::HostKeys;
use super::measured::{self, Look, Shown};
use super::snp::Snp;
use super::{Answer, Outcome, Session, environment, recipe};
use crate::assemble::{self, acpi};
use crate::measure::machine::Kind;
use crate::measure::tee::se::SECRETS;
use crate::measure::uefi::Facts;
use crate::measure::{self, File, Guest, Keeper, Machine, Setting, TEES, Tee, VMMS};
use crate::publish::key;
use crate::reference::{self, Document};
use crate::store::Store;

/// Compute the registers that a guest will report, for each machine
///
/// Settings that are lists multiply: `--vcpus 1,2 --cpu EPYC-Milan,EPYC-Genoa` is four machines. A
/// recipe states its guest and lists its machines: of one TEE only with --tee.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith measure recipes/quickstart.yaml --tee sev-snp
  guestsmith measure --tee sev-snp --firmware out/quickstart/firmware-amdsev.fd \\
      --kernel out/quickstart/vmlinuz --cmdline console=ttyS0 --vcpus 1,2,4 --cpu EPYC-Milan")]
pub(super) struct Measure {
    /// A recipe to measure, which is built first if there is anything to build; without one, files
    #[arg(required_unless_present = "tee")]
    recipe: Option<PathBuf>,
    /// Directory of the recipe's boot set [default: out/NAME]
    #[arg(long, value_name = "DIR", requires = "recipe")]
    out: Option<PathBuf>,
    /// The TEE
    #[arg(long, value_name = "TEE", value_parser = names())]
    tee: Option<String>,
    /// VMMs, each with its version where it matters: qemu@10.1
    #[arg(long, value_name = "VMM", value_delimiter = ',', long_help = vmms())]
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
    #[command(flatten)]
    host_keys: HostKeys,
}

/// Text forms, beside those of `reference::EMITTERS`.
const TEXTS: &[(&str, &str)] =
    &[("hex", "Lower-case hexadecimal"), ("base64", "Base64 of the value's bytes")];

fn names() -> clap::builder::PossibleValuesParser {
    TEES.iter().map(|tee| clap::builder::PossibleValue::new(tee.name).help(tee.about)).into()
}

/// VMMs that launch one TEE alone, and have no row in [`VMMS`].
const OTHERS: &[(&str, &str)] = &[
    ("kvmtool", "kvmtool (lkvm)"),
    ("cloud-hypervisor", "Cloud Hypervisor on KVM"),
    ("dragonball", "Dragonball, the VMM in Kata's runtime"),
];

/// What every VMM is, and the TEEs that it is known to launch.
fn vmms() -> String {
    let rows = VMMS.iter().map(|row| (row.name, row.about)).chain(OTHERS.iter().copied());
    let lines = rows.map(|(name, about)| {
        let launched = TEES.iter().filter(|tee| tee.vmms.contains(&name)).map(|tee| tee.name);
        format!("- {name}: {about} [{}]\n", launched.collect::<Vec<_>>().join(" "))
    });
    let lines: String = lines.collect();
    format!("VMMs, each with its version where it matters: qemu@10.1\n\nKnown:\n{lines}")
}

impl Measure {
    pub(super) fn run(self, session: &Session) -> Outcome {
        match &self.recipe {
            Some(path) => self.of_recipe(session, path),
            None => self.of_files(session),
        }
    }

    fn of_files(&self, session: &Session) -> Outcome {
        let tee = measure::tee(self.tee.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
        self.snp.check(tee)?;
        let machines = self.given.machines(tee, &self.vmm)?;
        let mut files = self.given.read(tee)?;
        self.host_keys.check(session, &files)?;
        let tables = self.read_from_qemu(session, tee, &machines)?;
        files.extend(tables.map(|(name, bytes)| (name, bytes.into())));
        let guest = guest(&files);
        let precomputed = self.snp.precomputed(session, &guest)?;
        let tell = |image: &[u8]| facts(session, image);
        let guest =
            Guest { precomputed: precomputed.as_ref(), facts: Some(Keeper(&tell)), ..guest };
        let found = (tee.expect)(&guest, &machines).map_err(Failure::input)?;
        let pairs = machines.iter().zip(&found);
        let shown: Vec<_> = pairs.map(|(machine, found)| Shown::of(tee, machine, found)).collect();
        measured::warn(&session.output, &shown, self.strict)?;
        self.snp.dump(tee, &guest, machines.first())?;
        self.save(&files)?;
        let entries = shown.iter().map(|shown| shown.machine.clone()).collect();
        self.answer(session, &shown, &Document::of_machines(entries))
    }

    /// Builds the recipe, if there is anything to build, and answers for its machines.
    fn of_recipe(&self, session: &Session, path: &Path) -> Outcome {
        if self.given.is_any() || !self.vmm.is_empty() || self.qemu.is_some() || self.snp.is_any() {
            let what = anyhow::anyhow!("a recipe states its own guest and machines");
            return Err(Failure::usage(what).hint("beside it --tee, --out and the form are taken"));
        }
        let recipe = recipe::load(path)?.recipe;
        let out = self.out.clone().unwrap_or_else(|| Path::new("out").join(&recipe.name));
        let mut document = Build::new(path, &out).document(session)?;
        document.machines.retain(|machine| self.tee.as_ref().is_none_or(|tee| *tee == machine.tee));
        if document.machines.is_empty() {
            let of = self.tee.as_ref().map(|tee| format!(" of {tee}")).unwrap_or_default();
            let what = anyhow::anyhow!("{} lists no machines{of} to measure", path.display());
            return Err(Failure::input(what).hint("`machines` in the recipe lists them"));
        }
        let shown: Vec<_> = document.machines.iter().cloned().map(Shown::from).collect();
        measured::warn(&session.output, &shown, self.strict)?;
        self.answer(session, &shown, &document)
    }

    /// Prints what was found: as text, as JSON, or as reference values of the form that was asked
    /// for.
    fn answer(&self, session: &Session, shown: &[Shown], document: &Document) -> Outcome {
        if let Ok(form) = reference::emitter(&self.format) {
            let emitted = form.emit(document, &self.emit.settings()?).map_err(Failure::input)?;
            emitted.warnings.iter().for_each(|warning| session.output.warn(warning));
            session.output.raw(&emitted.content)?;
            return Ok(Answer::Yes);
        }
        let (base64, bare) = (self.format == "base64", session.global.quiet);
        let look = Look { base64, parts: self.parts, bare };
        session.output.answer(&measured::answer(shown)?, || measured::text(shown, look))?;
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
        Ok(Some(("acpi", acpi::qemu::read(session.host(), &store, &wanted)?)))
    }

    /// Keeps what was read from QEMU, if that was asked for.
    fn save(&self, files: &Files) -> anyhow::Result<()> {
        let Some(path) = &self.save_acpi else { return Ok(()) };
        let bundle = files.iter().find(|(name, _)| *name == "acpi").map(|(_, bytes)| &**bytes);
        fs::write(path, bundle.context("no fw_cfg files were read")?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// What the volumes of the firmware `image` tell, as the store keeps it where there is one.
fn facts(session: &Session, image: &[u8]) -> measure::Result<Facts> {
    let store = session.store().ok().and_then(|dir| Store::open(&dir).ok());
    match store {
        Some(store) => assemble::facts::of(&store, image, &environment::executable()),
        None => Facts::read(image),
    }
}

/// Files by name, in the order of the command line; the guest borrows from them.
pub(super) type Files = Vec<(&'static str, Contents)>;

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
    /// Whether any was given.
    fn is_any(&self) -> bool {
        !self.files.is_empty() || !self.settings.is_empty()
    }

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
                "cmdline" => value.clone().into_bytes().into(),
                "acpi" => acpi::bundle(value.as_ref())?.into(),
                name if SECRETS.contains(&name) => key::secret_bytes(value)?.into(),
                _ => Contents::read(value.as_ref())
                    .with_context(|| format!("cannot read {value}"))?,
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
