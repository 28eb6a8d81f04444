//! The named sets of SSH algorithms.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};

use super::AlgorithmPolicy;

const MODERN_KEX: &[kex::Name] =
    &[kex::MLKEM768X25519_SHA256, kex::CURVE25519, kex::CURVE25519_PRE_RFC_8731];
const COMPAT_KEX: &[kex::Name] = &[
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G18_SHA512,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
];
const LEGACY_KEX: &[kex::Name] = &[kex::DH_GEX_SHA1, kex::DH_G14_SHA1];
/// Not algorithms but signals: extension info, and strict key exchange (against Terrapin).
const KEX_SIGNALS: &[kex::Name] =
    &[kex::EXTENSION_SUPPORT_AS_SERVER, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER];

// AES-GCM runs in hardware; the client's order decides in the end.
const MODERN_CIPHERS: &[cipher::Name] =
    &[cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305];
const COMPAT_CIPHERS: &[cipher::Name] =
    &[cipher::AES_128_CTR, cipher::AES_192_CTR, cipher::AES_256_CTR];
const LEGACY_CIPHERS: &[cipher::Name] =
    &[cipher::AES_128_CBC, cipher::AES_192_CBC, cipher::AES_256_CBC];

const MODERN_MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];
const COMPAT_MACS: &[mac::Name] = &[mac::HMAC_SHA256, mac::HMAC_SHA512];
const LEGACY_MACS: &[mac::Name] = &[mac::HMAC_SHA1_ETM, mac::HMAC_SHA1];

/// The algorithms offered under a policy; compression never is.
pub(super) fn preferred(policy: AlgorithmPolicy) -> Preferred {
    let compat = policy != AlgorithmPolicy::Modern;
    let legacy = policy == AlgorithmPolicy::Legacy;
    let mut key = vec![Algorithm::Ed25519];
    for curve in [EcdsaCurve::NistP256, EcdsaCurve::NistP384, EcdsaCurve::NistP521] {
        key.push(Algorithm::Ecdsa { curve });
    }
    key.push(Algorithm::Rsa { hash: Some(HashAlg::Sha512) });
    key.push(Algorithm::Rsa { hash: Some(HashAlg::Sha256) });
    if legacy {
        key.push(Algorithm::Rsa { hash: None });
    }
    let mut kex = gather(compat, legacy, MODERN_KEX, COMPAT_KEX, LEGACY_KEX);
    kex.extend_from_slice(KEX_SIGNALS);
    Preferred {
        kex: Cow::Owned(kex),
        key: Cow::Owned(key),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Owned(gather(compat, legacy, MODERN_CIPHERS, COMPAT_CIPHERS, LEGACY_CIPHERS)),
        mac: Cow::Owned(gather(compat, legacy, MODERN_MACS, COMPAT_MACS, LEGACY_MACS)),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

fn gather<T: Copy>(compat: bool, legacy: bool, sets: &[T], more: &[T], oldest: &[T]) -> Vec<T> {
    let mut all = sets.to_vec();
    if compat {
        all.extend_from_slice(more);
    }
    if legacy {
        all.extend_from_slice(oldest);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_algorithms_are_offered_under_legacy_only() {
        let texts = |policy| {
            let offered = preferred(policy);
            let mut texts: Vec<String> = Vec::new();
            texts.extend(offered.kex.iter().map(|name| name.as_ref().to_owned()));
            texts.extend(offered.cipher.iter().map(|name| name.as_ref().to_owned()));
            texts.extend(offered.mac.iter().map(|name| name.as_ref().to_owned()));
            texts.join(" ")
        };
        for policy in [AlgorithmPolicy::Modern, AlgorithmPolicy::Compat] {
            assert!(!texts(policy).contains("sha1") && !texts(policy).contains("cbc"));
        }
        assert!(!texts(AlgorithmPolicy::Modern).contains("ctr"));
        assert!(texts(AlgorithmPolicy::Legacy).contains("diffie-hellman-group14-sha1"));
        for policy in [AlgorithmPolicy::Modern, AlgorithmPolicy::Compat, AlgorithmPolicy::Legacy] {
            assert!(texts(policy).contains("aes128-gcm@openssh.com"));
            assert!(texts(policy).contains("kex-strict-s-v00@openssh.com"));
        }
    }
}
