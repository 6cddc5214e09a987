//! The kernel command line as kata's Go runtime assembles it: `qemu.go` (`kernelParameters`),
//! `qemu_amd64.go`, `qemu_arch_base.go`, `hypervisor.go`, `katautils/config.go`.

use anyhow::{Context as _, Result, bail, ensure};

use super::{HandOver, Image};
use crate::format::bzimage;
use crate::measure::kata::{ARCHITECTURE, SYSTEMD};

/// Seconds of `launch_process_timeout` in kata's configurations of both TEEs.
pub(super) const LAUNCH_TIMEOUT: u32 = 6;

/// Where the guest's root file system is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Root {
    /// In the initrd.
    Initrd,
    /// On a disk that dm-verity protects.
    Image {
        /// `kernel_verity_params`.
        verity: String,
        /// Its file system.
        kind: String,
        /// What the runtime makes of it (`hypervisor.go`, `GetKernelRootParams`).
        parameters: Vec<String>,
    },
}

impl Root {
    /// The root of `image`.
    ///
    /// # Errors
    /// Its parameters or file system are none that kata takes.
    pub(super) fn image(image: &Image) -> Result<Self> {
        let flags = match image.kind.as_str() {
            "ext4" => "data=ordered,errors=remount-ro ro",
            "erofs" | "xfs" => "ro",
            other => bail!("kata boots no root file system `{other}`: ext4, erofs or xfs"),
        };
        let value = |name: &str| {
            let pairs = image.verity.split(',').filter_map(|pair| pair.trim().split_once('='));
            let mut found = pairs.filter(|(known, _)| *known == name).map(|(_, value)| value);
            let what = || format!("--verity names no {name}: {VERITY}");
            found.next().filter(|value| !value.is_empty()).with_context(what)
        };
        let number = |name: &str| -> Result<u64> {
            let text = value(name)?;
            let number = text.parse().ok().filter(|number| *number > 0);
            number.with_context(|| format!("--verity: {name} is no number: `{text}`"))
        };
        let (block, blocks) = (number("data_block_size")?, number("data_blocks")?);
        let sectors =
            (block / 512).checked_mul(blocks).context("--verity: more than a disk has")?;
        let table = format!(
            "dm-verity,,,ro,0 {sectors} verity 1 /dev/vda1 /dev/vda2 {block} {} {blocks} 0 sha256 \
             {} {}",
            number("hash_block_size")?,
            value("root_hash")?,
            value("salt")?
        );
        let parameters = vec![
            format!("dm-mod.create=\"{table}\""),
            "root=/dev/dm-0".to_string(),
            format!("rootflags={flags}"),
            format!("rootfstype={}", image.kind),
        ];
        Ok(Self::Image { verity: image.verity.clone(), kind: image.kind.clone(), parameters })
    }
}

const VERITY: &str = "root_hash=…,salt=…,data_blocks=…,data_block_size=…,hash_block_size=…";

/// Parameters of a command line, divided as `hypervisor.go` (`KernelParamFields`) does and written
/// as `SerializeParams` does: one space between, a value that is empty without its `=`.
///
/// # Errors
/// The runtime refuses a parameter without a name.
pub(super) fn parameters(cmdline: &str) -> Result<Vec<String>> {
    let (mut found, mut quoted, mut start) = (Vec::new(), false, 0);
    for (at, c) in cmdline.char_indices().chain([(cmdline.len(), ' ')]) {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted || at == cmdline.len() => {
                found.push(cmdline.get(start..at).unwrap_or_default().trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let mut written = Vec::new();
    for field in found.into_iter().filter(|field| !field.is_empty()) {
        ensure!(!field.starts_with('='), "kata refuses a kernel parameter without name: `{field}`");
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        written.push(if value.is_empty() { name.to_string() } else { field.to_string() });
    }
    Ok(written)
}

/// The command line of a guest with that many vCPUs.
pub(super) fn assembled(over: &HandOver<'_>, vcpus: u32) -> String {
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let mut line = words(ARCHITECTURE);
    let image = match &over.root {
        Root::Image { parameters, .. } => Some(parameters),
        Root::Initrd => None,
    };
    line.extend(image.into_iter().flatten().cloned());
    line.extend(words(&["console=hvc0", "console=hvc1", "quiet"]));
    line.extend(image.map(|_| "systemd.show_status=false".to_string()));
    line.push("panic=1".to_string());
    line.extend(over.runtime.nr_cpus.then(|| format!("nr_cpus={vcpus}")));
    line.push("selinux=0".to_string());
    line.extend(image.into_iter().flat_map(|_| words(SYSTEMD)));
    line.push("scsi_mod.scan=none".to_string());
    line.push(format!("agent.launch_process_timeout={LAUNCH_TIMEOUT}"));
    line.extend(over.parameters.iter().cloned());
    line.join(" ")
}

/// The command line as a file: one where it is the same for all, else one a number of vCPUs.
pub(super) fn files(over: &HandOver<'_>) -> Vec<(String, String)> {
    let name = over.shim.name;
    match over.runtime.nr_cpus {
        false => vec![(format!("{name}.cmdline"), assembled(over, 1))],
        true => {
            let vcpus = over.vcpus.iter();
            vcpus.map(|n| (format!("{name}-{n}.cmdline"), assembled(over, *n))).collect()
        }
    }
}

/// Checks that the kernel takes what the runtime assembles.
///
/// # Errors
/// The kernel is none, or its limit is lower.
pub(super) fn check(over: &HandOver<'_>, kernel: &[u8]) -> Result<()> {
    let most = bzimage::parse(kernel).context("vmlinuz")?.cmdline_size;
    let longest = assembled(over, 4096).len();
    ensure!(
        usize::try_from(most).is_ok_and(|most| longest <= most),
        "kata's command line would have {longest} bytes, the kernel takes {most}"
    );
    Ok(())
}
