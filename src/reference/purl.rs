//! Package URLs (purl-spec 1.0) of materials.

use super::Material;
use crate::format::percent;

impl Material {
    /// The package URL: `pkg:deb/debian/busybox-static@1:1.37.0-6?arch=amd64`.
    pub fn purl(&self) -> String {
        let escaped = |text: &str| percent::encoded(text, "");
        let name = escaped(&self.name);
        let version =
            self.version.as_deref().map(|v| format!("@{}", escaped(v))).unwrap_or_default();
        let arch =
            self.arch.as_deref().map(|a| format!("?arch={}", escaped(a))).unwrap_or_default();
        match self.kind.as_str() {
            "deb" => format!("pkg:deb/debian/{name}{version}{arch}"),
            "crate" => format!("pkg:cargo/{name}{version}"),
            _ => format!("pkg:generic/{name}{version}?checksum=sha256:{}", self.sha256),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debian_version_is_escaped() {
        let material = Material {
            kind: "deb".into(),
            name: "libstdc++6".into(),
            version: Some("1:14.2.0-19+b1".into()),
            arch: Some("amd64".into()),
            sha256: "00".repeat(32),
            size: None,
        };
        assert_eq!(material.purl(), "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2.0-19%2Bb1?arch=amd64");
    }
}
