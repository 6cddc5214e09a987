//! The drop-in (`config.d/*.toml`) that lays a build over a configuration of kata. Beside the files
//! it pins every setting that reaches the command line, and takes away the annotations by which a
//! pod could change it.

use core::fmt::Write as _;

use super::cmdline::{LAUNCH_TIMEOUT, Root};
use super::{HandOver, payload};

/// The drop-in's text.
pub(super) fn text(over: &HandOver<'_>) -> String {
    let mut text = format!(
        "# Made by guestsmith for kata {}, configuration {}: recipe {}.\n# Whoever changes a line \
         changes the measurement.\n\n[hypervisor.qemu]\n",
        over.runtime.version, over.shim.name, over.name
    );
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key} = {value}"); // writing to a String cannot fail
    };
    line("firmware", quoted(&over.on_node(&over.firmware)));
    line("firmware_volume", quoted(""));
    line("kernel", quoted(&over.on_node(payload::KERNEL)));
    match &over.root {
        Root::Initrd => {
            line("initrd", quoted(&over.on_node(payload::INITRD)));
            line("image", quoted(""));
            line("kernel_verity_params", quoted(""));
        }
        Root::Image { verity, kind, .. } => {
            line("initrd", quoted(""));
            line("image", quoted(&over.on_node(payload::IMAGE)));
            line("rootfs_type", quoted(kind));
            line("kernel_verity_params", quoted(verity));
        }
    }
    line("kernel_params", quoted(&over.parameters.join(" ")));
    line("default_vcpus", over.vcpus.first().unwrap_or(&1).to_string());
    line("default_memory", over.memory.first().map_or(2048, |bytes| bytes >> 20).to_string());
    line("enable_annotations", "[\"cc_init_data\"]".to_string());
    line("block_device_driver", quoted("virtio-scsi"));
    for (key, value) in [
        ("disable_guest_selinux", true),
        ("enable_debug", false),
        ("enable_iommu", false),
        ("use_legacy_serial", false),
    ] {
        line(key, value.to_string());
    }
    let _ = write!(
        text,
        "\n[agent.kata]\nenable_debug = false\nenable_tracing = false\ndebug_console_enabled = \
         false\ncdh_api_timeout = 0\nlaunch_process_timeout = {LAUNCH_TIMEOUT}\n\n[runtime]\n\
         enable_tracing = false\nstatic_sandbox_resource_mgmt = true\n"
    );
    text
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}
