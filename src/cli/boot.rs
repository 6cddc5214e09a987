//! `guestsmith boot`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tempfile::NamedTempFile;

use super::build::Build;
use super::failure::Failure;
use super::{Answer, Outcome, Session, recipe};
use crate::assemble::direct;
use crate::recipe::Recipe;
use crate::verify::boot::{self, Accelerator, Setup};

/// Lines of the console that a failed boot shows.
const TAIL: usize = 25;

/// Boot a recipe under QEMU and wait for its agent's line
///
/// Builds the boot set first, if there is anything to build. KVM is used where it works, else QEMU
/// emulates. A firmware that compares the kernel with the hash table of an SEV launch gets that
/// table put into its memory, as such a launch would. QEMU alone is no TEE: a boot shows that the
/// parts fit together, not that they are confidential.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith boot recipes/quickstart.yaml")]
pub(super) struct Boot {
    /// The recipe
    recipe: PathBuf,
    /// Directory of the boot set [default: out/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Firmware of the recipe to boot with [default: that of its first machine]
    #[arg(long, value_name = "NAME")]
    firmware: Option<String>,
    /// Guest memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u64,
    /// Number of vCPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    vcpus: u32,
    /// Seconds that the guest may take until the agent's line
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    timeout: u64,
}

#[derive(Serialize)]
struct Booted {
    passed: bool,
    accelerator: &'static str,
    /// The agent's report.
    report: Option<serde_json::Value>,
    /// The last lines of the console, where the boot failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<String>,
}

impl Boot {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let recipe = recipe::load(&self.recipe)?.recipe;
        let out = self.out.clone().unwrap_or_else(|| Path::new("out").join(&recipe.name));
        Build::new(&self.recipe, &out).make(session)?;
        let table = NamedTempFile::new().context("a file for the table of kernel hashes")?;
        let mut setup = self.setup(&recipe, &out)?;
        let hashes = boot::kernel_hashes(session.host(), &setup)?;
        if let Some((address, hashes)) = hashes {
            fs::write(&table, hashes.bytes()).context("cannot write the table of kernel hashes")?;
            setup.loaded.push((table.path().to_path_buf(), address));
        }
        let bar = session.output.progress("booting", None);
        let outcome = boot::boot(session.host(), &setup, Duration::from_secs(self.timeout))?;
        bar.finish_and_clear();
        let booted = Booted {
            passed: outcome.passed(),
            accelerator: outcome.accelerator.name(),
            console: (!outcome.passed()).then(|| tail(&outcome.console)),
            report: outcome.report,
        };
        session.output.answer(&booted, || text(&booted))?;
        Ok(if booted.passed { Answer::Yes } else { Answer::No })
    }

    fn setup(&self, recipe: &Recipe, out: &Path) -> Result<Setup, Failure> {
        let machine = recipe.machines.iter().flat_map(|machine| machine.values()).next();
        let stated = self.firmware.clone().or_else(|| machine.and_then(|m| m.firmware.clone()));
        let cmdline = out.join("cmdline");
        let cmdline = fs::read_to_string(&cmdline)
            .with_context(|| format!("cannot read {}: a boot needs a kernel", cmdline.display()))?;
        Ok(Setup {
            arch: recipe.arch,
            firmware: stated.map(|name| out.join(direct::firmware_file(&name))),
            kernel: out.join("vmlinuz"),
            initrd: recipe.initrd.is_some().then(|| out.join("initrd.img")),
            cmdline,
            memory_mib: self.memory,
            vcpus: self.vcpus,
            loaded: Vec::new(),
        })
    }
}

fn tail(console: &str) -> String {
    let lines: Vec<_> = console.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

fn text(booted: &Booted) -> String {
    let how = match booted.accelerator == Accelerator::Tcg.name() {
        true => "emulated",
        false => "with KVM",
    };
    match (&booted.report, &booted.console) {
        (Some(report), None) => {
            let word = |name: &str| report[name].as_str().unwrap_or("unknown").to_string();
            let notes = report["notes"].as_array().into_iter().flatten();
            let mut lines = vec![format!("pass: the guest booted ({how}), reported, powered off")];
            lines.push(format!("  TEE       {}", word("tee")));
            lines.push(format!("  kernel    {}", word("kernel")));
            lines.push(format!("  cmdline   {}", word("cmdline")));
            lines.push(format!("  lockdown  {}", word("lockdown")));
            lines
                .extend(notes.filter_map(|note| note.as_str()).map(|n| format!("  note      {n}")));
            lines.join("\n")
        }
        (report, console) => {
            let why = match report {
                Some(_) => "the guest reported, but did not power off",
                None => "the agent's line did not come",
            };
            let console = console.as_deref().unwrap_or_default();
            format!("fail: {why} ({how}); the console ends with\n{console}")
        }
    }
}
