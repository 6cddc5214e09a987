//! Keys that the tests make and sign with, in every state that a key can be in.

use pgp::composed::{CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, RevocationCode, SignatureConfig, SignatureType, Subpacket, SubpacketData,
};
use pgp::ser::Serialize as _;
use pgp::types::{Duration, KeyDetails as _, Password, Tag, Timestamp};
use rand::rngs::OsRng;

/// A key of an archive.
#[derive(Clone)]
pub(crate) struct Key(SignedSecretKey);

/// What a signature says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    /// When, in seconds since 1970.
    pub(crate) at: u64,
    /// With which digest.
    pub(crate) hash: HashAlgorithm,
}

fn seconds(time: u64) -> u32 {
    u32::try_from(time).expect("before 2106")
}

impl Key {
    /// A key made at that time, valid for that many seconds, or for ever.
    pub(crate) fn new(created: u64, lasts: Option<u32>) -> Self {
        Self::of_type(KeyType::Ed25519Legacy, created, lasts)
    }

    pub(crate) fn of_type(kind: KeyType, created: u64, lasts: Option<u32>) -> Self {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters
            .key_type(kind)
            .can_sign(true)
            .can_certify(true)
            .created_at(Timestamp::from_secs(seconds(created)))
            .primary_user_id("Archive <archive@example.org>".into());
        let parameters = parameters.build().expect("parameters");
        let mut key = Self(parameters.generate(OsRng).expect("a key"));
        key.certify(created, lasts);
        key
    }

    /// Replaces the self-signature by one that limits the key.
    fn certify(&mut self, created: u64, lasts: Option<u32>) {
        let mut flags = KeyFlags::default();
        flags.set_sign(true);
        flags.set_certify(true);
        let mut says = vec![SubpacketData::KeyFlags(flags)];
        let lasts = lasts.map(Duration::from_secs).map(SubpacketData::KeyExpirationTime);
        says.extend(lasts);
        let hash = HashAlgorithm::Sha256;
        let config = self.config(SignatureType::CertPositive, Made { at: created, hash }, says);
        let primary = &self.0.primary_key;
        let id = self.0.details.users[0].id.clone();
        let public = primary.public_key();
        let signature =
            config.sign_certification(primary, public, &Password::empty(), Tag::UserId, &id);
        self.0.details.users[0].signatures = vec![signature.expect("a self-signature")];
    }

    /// The same key, revoked.
    pub(crate) fn revoked(mut self, at: u64) -> Self {
        let reason = SubpacketData::RevocationReason(RevocationCode::KeyRetired, "".into());
        let made = Made { at, hash: HashAlgorithm::Sha256 };
        let config = self.config(SignatureType::KeyRevocation, made, vec![reason]);
        let primary = &self.0.primary_key;
        let revocation = config.sign_key(primary, &Password::empty(), primary.public_key());
        self.0.details.revocation_signatures.push(revocation.expect("a revocation"));
        self
    }

    fn config(&self, kind: SignatureType, made: Made, says: Vec<SubpacketData>) -> SignatureConfig {
        let key = &self.0.primary_key;
        let mut config = SignatureConfig::from_key(OsRng, key, kind).expect("a signature");
        config.hash_alg = made.hash;
        let own = [
            SubpacketData::SignatureCreationTime(Timestamp::from_secs(seconds(made.at))),
            SubpacketData::IssuerFingerprint(key.fingerprint()),
        ];
        let all = own.into_iter().chain(says);
        config.hashed_subpackets =
            all.map(|says| Subpacket::regular(says).expect("a subpacket")).collect();
        config
    }

    /// `text` with a signature of this key made at that time.
    pub(crate) fn sign(&self, text: &str, at: u64) -> String {
        sign_by(text, &[(self, Made { at, hash: HashAlgorithm::Sha512 })])
    }

    /// The fingerprint, as gpg prints it.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:X}", self.0.primary_key.fingerprint())
    }

    /// The public key in binary form.
    pub(crate) fn public(&self) -> Vec<u8> {
        self.0.to_public_key().to_bytes().expect("bytes")
    }
}

/// `text` with a signature of each of `keys`.
pub(crate) fn sign_by(text: &str, keys: &[(&Key, Made)]) -> String {
    let signed = CleartextSignedMessage::new_many(text, |normal| {
        let sign = |(key, made): &(&Key, Made)| {
            let config = key.config(SignatureType::Text, *made, Vec::new());
            config.sign(&key.0.primary_key, &Password::empty(), normal.as_bytes())
        };
        keys.iter().map(sign).collect()
    });
    signed.expect("signed").to_armored_string(Default::default()).expect("armored")
}
