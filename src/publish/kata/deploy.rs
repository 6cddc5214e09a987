//! Resources that install the payload: values of kata-deploy's chart, and a `CcRuntime` for the
//! (deprecated) operator of Confidential Containers.

use core::fmt::Write as _;

use super::{HandOver, dropin};

/// The payload where it will be pulled from.
pub(super) struct Payload<'a> {
    /// `registry.example/guests/payload`.
    pub(super) reference: &'a str,
    /// `sha256:…` of its manifest.
    pub(super) digest: String,
}

impl Payload<'_> {
    fn pinned(&self) -> String {
        format!("{}@{}", self.reference, self.digest)
    }
}

/// Values of the chart (`helm-chart/kata-deploy/values.yaml`).
pub(super) fn values(overs: &[HandOver<'_>], payload: &Payload<'_>) -> String {
    let mut text = format!(
        "# Values of kata-deploy {}: helm install kata-deploy CHART -f values.yaml\nimage:\n  \
         reference: {}\n  tag: \"\"\nsnapshotter:\n  setup: [nydus]\nshims:\n  disableAll: true\n",
        overs.first().map_or("", |over| over.runtime.version),
        payload.pinned()
    );
    for over in overs {
        let _ = writeln!(text, "  {}:\n    enabled: true", over.shim.name);
    }
    text += "customRuntimes:\n  enabled: true\n  runtimes:\n";
    for over in overs {
        let handler = over.handler();
        let _ = write!(
            text,
            "    {handler}:\n      baseConfig: {}\n      containerd:\n        snapshotter: nydus\n      \
             crio:\n        pullType: guest-pull\n      runtimeClass: |\n{}      dropIn: |\n{}",
            over.shim.name,
            indented(&runtime_class(&handler), 8),
            indented(&dropin::text(over), 8)
        );
    }
    text
}

fn runtime_class(handler: &str) -> String {
    format!(
        "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: {handler}\nhandler: \
         {handler}\nscheduling:\n  nodeSelector:\n    katacontainers.io/kata-runtime: \"true\"\n"
    )
}

fn indented(text: &str, by: usize) -> String {
    let line = |line: &str| match line.is_empty() {
        true => "\n".to_string(),
        false => format!("{:by$}{line}\n", ""),
    };
    text.lines().map(line).collect()
}

/// The resource of the operator (`api/v1beta1/ccruntime_types.go`). The payload carries the custom
/// runtimes itself, so that no ConfigMap is needed.
pub(super) fn ccruntime(overs: &[HandOver<'_>], payload: &Payload<'_>) -> String {
    let shims: Vec<_> = overs.iter().map(|over| over.shim.name).collect();
    let mappings: Vec<_> = shims.iter().map(|shim| format!("{shim}:nydus")).collect();
    let classes = overs.iter().map(|over| {
        let handler = over.handler();
        format!("      - {{name: {handler}, snapshotter: nydus, pulltype: guest-pull}}\n")
    });
    CCRUNTIME
        .replace("@PAYLOAD@", &payload.pinned())
        .replace("@SHIMS@", &shims.join(" "))
        .replace("@DEFAULT@", shims.first().unwrap_or(&""))
        .replace("@MAPPINGS@", &mappings.join(","))
        .replace("@CLASSES@", &classes.collect::<String>())
}

const CCRUNTIME: &str = r#"apiVersion: confidentialcontainers.org/v1beta1
kind: CcRuntime
metadata:
  name: ccruntime-guestsmith
spec:
  runtimeName: kata
  ccNodeSelector:
    matchLabels:
      node.kubernetes.io/worker: ""
  config:
    installType: bundle
    payloadImage: @PAYLOAD@
    installCmd: ["/usr/bin/kata-deploy", "install"]
    uninstallCmd: ["/usr/bin/kata-deploy", "cleanup"]
    cleanupCmd: ["/usr/bin/kata-deploy", "reset"]
    installDoneLabel:
      katacontainers.io/kata-runtime: "true"
    uninstallDoneLabel:
      katacontainers.io/kata-runtime: "cleanup"
    installerVolumeMounts:
      - {mountPath: /etc/crio/, name: crio-conf}
      - {mountPath: /etc/containerd/, name: containerd-conf}
      - {mountPath: /host/, name: host}
    installerVolumes:
      - {name: crio-conf, hostPath: {path: /etc/crio/}}
      - {name: containerd-conf, hostPath: {path: /etc/containerd/}}
      - {name: host, hostPath: {path: /}}
    runtimeClasses:
@CLASSES@    environmentVariables:
      - name: NODE_NAME
        valueFrom: {fieldRef: {apiVersion: v1, fieldPath: spec.nodeName}}
      - {name: DEBUG, value: "false"}
      - {name: SHIMS_X86_64, value: "@SHIMS@"}
      - {name: DEFAULT_SHIM_X86_64, value: "@DEFAULT@"}
      - {name: SNAPSHOTTER_HANDLER_MAPPING_X86_64, value: "@MAPPINGS@"}
      - {name: CUSTOM_RUNTIMES_ENABLED, value: "true"}
"#;
