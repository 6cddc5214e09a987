//! The kernel from source: configured, checked line by line, judged for determinism, built.
//!
//! Two steps: the first makes only the `.config`, so that a line that does not hold is an error
//! after seconds and not after minutes.

mod check;
mod fragments;
mod lint;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::root::Root;
use super::step::{Builder, Built, Step};
use crate::recipe::Arch;
use crate::store::Expected;
pub use check::{Unmet, unmet};
pub use fragments::{FRAGMENTS, Fragment, Line, merge, named};
pub use lint::{RULES, Rule, lint};

/// What the first step runs.
const CONFIGURE: &str = include_str!("configure.sh");
/// What the second step runs.
const COMPILE: &str = include_str!("compile.sh");

/// A kernel to build.
#[derive(Debug, Clone)]
pub struct Linux<'a> {
    /// The source tarball, in the store.
    pub tarball: Expected,
    /// Fragments of its configuration.
    pub fragments: &'a [Fragment],
    /// Architecture that it is for.
    pub arch: Arch,
    /// Seconds since 1970 that stand for the time of the build.
    pub epoch: u32,
}

/// What is built, by path of the outputs.
const IMAGE: &str = "out/vmlinuz";
const CONFIG: &str = "out/config";
const DEFINITIONS: &str = "out/definitions";

/// Builds the kernel; the image and its configuration are in the store then.
///
/// # Errors
/// Fragments contradict each other, a line of them does not hold, the configuration would make
/// every build another, or a step fails.
pub fn build(builder: &Builder<'_>, root: &Root, linux: &Linux<'_>) -> Result<Image> {
    let configured = configure(builder, root, linux)?;
    let config = configured.outputs.get(CONFIG).context("no configuration")?;
    let mut step = step("kernel", root, linux, COMPILE)?;
    step.inputs.insert("config".into(), *config);
    step.outputs = vec![IMAGE.into()];
    let mut built = builder.run(&step)?;
    let image = built.outputs.remove(IMAGE).context("no image")?;
    Ok(Image { image, config: *config })
}

/// A built kernel, in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// The image that boots.
    pub image: Expected,
    /// Its configuration.
    pub config: Expected,
}

/// Makes the configuration and judges it.
fn configure(builder: &Builder<'_>, root: &Root, linux: &Linux<'_>) -> Result<Built> {
    let lines = merge(linux.fragments)?;
    let text: String = lines.iter().map(|line| format!("{}={}\n", line.name, line.value)).collect();
    let mut step = step("kernel configuration", root, linux, CONFIGURE)?;
    step.inputs.insert("wanted".into(), builder.text(&text)?);
    step.outputs = vec![CONFIG.into(), DEFINITIONS.into()];
    let built = builder.run(&step)?;
    let read = |path: &str| -> Result<String> {
        let output = built.outputs.get(path).context("an output is missing")?;
        Ok(String::from_utf8_lossy(&builder.store.need(&output.sha256)?).into_owned())
    };
    let (config, definitions) = (read(CONFIG)?, read(DEFINITIONS)?);
    let unmet = unmet(&lines, &config, &definitions);
    ensure!(
        unmet.is_empty(),
        "the kernel's configuration is not what the fragments ask for:\n{}",
        unmet.iter().map(Unmet::to_string).collect::<Vec<_>>().join("\n")
    );
    let broken = lint(&config);
    ensure!(
        broken.is_empty(),
        "this configuration gives other bits at every build:\n{}",
        broken.iter().map(|rule| rule.to_string()).collect::<Vec<_>>().join("\n")
    );
    Ok(built)
}

fn step<'a>(name: &str, root: &'a Root, linux: &Linux<'_>, script: &'a str) -> Result<Step<'a>> {
    let (arch, target, image) = names(linux.arch);
    let cross = match linux.arch {
        Arch::X86_64 => "",
        Arch::Aarch64 => "aarch64-linux-gnu-",
        Arch::S390x => "s390x-linux-gnu-",
    };
    let epoch = linux.epoch.to_string();
    let env = [
        ("ARCH", arch),
        ("CROSS_COMPILE", cross),
        ("IMAGE", image),
        ("KBUILD_BUILD_HOST", "guestsmith"),
        ("KBUILD_BUILD_USER", "guestsmith"),
        ("KBUILD_BUILD_VERSION", "1"),
        ("SOURCE_DATE_EPOCH", &epoch),
        ("TARGET", target),
    ];
    Ok(Step {
        name: name.into(),
        root,
        script,
        inputs: BTreeMap::from([("linux.tar.xz".into(), linux.tarball)]),
        env: env.map(|(name, value)| (name.into(), value.into())).into(),
        outputs: Vec::new(),
    })
}

/// The kernel's name of the architecture, what is made, and where that then stands.
fn names(arch: Arch) -> (&'static str, &'static str, &'static str) {
    match arch {
        Arch::X86_64 => ("x86_64", "bzImage", "arch/x86/boot/bzImage"),
        Arch::Aarch64 => ("arm64", "Image", "arch/arm64/boot/Image"),
        Arch::S390x => ("s390", "bzImage", "arch/s390/boot/bzImage"),
    }
}
