//! Direct boot: firmware, kernel, initrd and command line as separate files for the VMM.

use std::collections::BTreeMap;

use crate::build::artifacts::Artifacts;

/// The boot set by file name. The command line stands in its file exactly, without a line end.
pub fn files(artifacts: &Artifacts) -> BTreeMap<String, &[u8]> {
    let firmware = artifacts.firmware.iter();
    let mut files: BTreeMap<String, &[u8]> =
        firmware.map(|(name, image)| (firmware_file(name), &image[..])).collect();
    files.extend(
        artifacts.loaders.iter().map(|(name, loader)| (format!("{name}.bin"), &loader[..])),
    );
    if let Some(kernel) = &artifacts.kernel {
        files.insert("vmlinuz".into(), kernel);
        files.insert("cmdline".into(), artifacts.cmdline.as_bytes());
    }
    if let Some(config) = &artifacts.kernel_config {
        files.insert("kernel.config".into(), config);
    }
    if let Some(initrd) = &artifacts.initrd {
        files.insert("initrd.img".into(), &initrd.bytes);
    }
    files
}

/// File of the firmware that the recipe calls `name`.
pub fn firmware_file(name: &str) -> String {
    format!("firmware-{name}.fd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_set_has_the_files_that_scripts_hold_on_to() {
        let artifacts = Artifacts {
            firmware: [("amdsev".to_string(), vec![1])].into(),
            loaders: [("stage3a".to_string(), vec![5])].into(),
            kernel: Some(vec![2]),
            kernel_config: Some(vec![4]),
            initrd: Some(crate::build::initrd::Image {
                bytes: vec![3],
                unpacked: 1,
                weights: Vec::new(),
            }),
            cmdline: "panic=-1".into(),
        };
        let expected: [(&str, &[u8]); 6] = [
            ("cmdline", b"panic=-1"),
            ("firmware-amdsev.fd", &[1]),
            ("initrd.img", &[3]),
            ("kernel.config", &[4]),
            ("stage3a.bin", &[5]),
            ("vmlinuz", &[2]),
        ];
        assert_eq!(files(&artifacts), expected.map(|(n, b)| (n.to_string(), b)).into());
    }
}
