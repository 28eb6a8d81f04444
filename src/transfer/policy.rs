//! The named sets of SSH algorithms.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};

use super::{AlgorithmPolicy, HostKeyType};

// The sets are judged by ssh-audit 3.9: nothing to say about modern, no failure in compat. A set that
// changes gets a new date.

const MODERN_KEX: &[kex::Name] = &[kex::MLKEM768X25519_SHA256];
const COMPAT_KEX: &[kex::Name] = &[
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::DH_GEX_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
];
const LEGACY_KEX: &[kex::Name] = &[
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    // 8192 bits keep a processor busy for so long that a few clients lock all others out.
    kex::DH_G18_SHA512,
    kex::DH_GEX_SHA1,
    kex::DH_G14_SHA1,
];
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

const MODERN_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::SkEd25519,
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];
/// For partners' keys; a host key of this kind takes the legacy policy.
const COMPAT_KEYS: &[Algorithm] = &[
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEcdsaSha2NistP256,
];
const LEGACY_KEYS: &[Algorithm] = &[Algorithm::Rsa { hash: None }];

/// What a policy offers, by the names of the wire, in our order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyOffer {
    /// The policy's name with its date.
    pub name: &'static str,
    pub key_exchanges: Vec<String>,
    pub ciphers: Vec<String>,
    pub macs: Vec<String>,
    /// Kinds of host keys that may be configured.
    pub host_keys: Vec<String>,
    /// Algorithms that partners' keys may sign with.
    pub partner_keys: Vec<String>,
}

impl AlgorithmPolicy {
    pub const ALL: [AlgorithmPolicy; 3] =
        [AlgorithmPolicy::Modern, AlgorithmPolicy::Compat, AlgorithmPolicy::Legacy];

    /// The name that means the newest set, and that of this very set.
    pub fn names(self) -> [&'static str; 2] {
        match self {
            AlgorithmPolicy::Modern => ["modern", "modern-2026-11"],
            AlgorithmPolicy::Compat => ["compat", "compat-2026-11"],
            AlgorithmPolicy::Legacy => ["legacy", "legacy-2026-11"],
        }
    }

    pub fn offer(self) -> PolicyOffer {
        let set = preferred(self);
        let kinds = HostKeyType::ALL.iter().filter(|kind| self.takes_host_key(**kind));
        let kex = set.kex.iter().filter(|name| !KEX_SIGNALS.contains(name));
        PolicyOffer {
            name: self.names()[1],
            key_exchanges: kex.map(|name| name.as_ref().to_owned()).collect(),
            ciphers: set.cipher.iter().map(|name| name.as_ref().to_owned()).collect(),
            macs: set.mac.iter().map(|name| name.as_ref().to_owned()).collect(),
            host_keys: kinds.map(|kind| kind.as_str().to_owned()).collect(),
            partner_keys: set.key.iter().map(|key| key.as_str().to_owned()).collect(),
        }
    }

    pub fn takes_host_key(self, kind: HostKeyType) -> bool {
        kind != HostKeyType::Ecdsa || self == AlgorithmPolicy::Legacy
    }

    /// Whether a partner's key may sign this way.
    pub(super) fn takes_key(self, algorithm: &Algorithm) -> bool {
        preferred(self).key.contains(algorithm)
    }

    fn pick<T: Clone>(self, modern: &[T], compat: &[T], legacy: &[T]) -> Vec<T> {
        let more: &[&[T]] = match self {
            AlgorithmPolicy::Modern => &[modern],
            AlgorithmPolicy::Compat => &[modern, compat],
            AlgorithmPolicy::Legacy => &[modern, compat, legacy],
        };
        more.concat()
    }
}

/// The algorithms offered under a policy; compression never is.
pub(super) fn preferred(policy: AlgorithmPolicy) -> Preferred {
    let mut kex = policy.pick(MODERN_KEX, COMPAT_KEX, LEGACY_KEX);
    kex.extend_from_slice(KEX_SIGNALS);
    Preferred {
        kex: Cow::Owned(kex),
        key: Cow::Owned(policy.pick(MODERN_KEYS, COMPAT_KEYS, LEGACY_KEYS)),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Owned(policy.pick(MODERN_CIPHERS, COMPAT_CIPHERS, LEGACY_CIPHERS)),
        mac: Cow::Owned(policy.pick(MODERN_MACS, COMPAT_MACS, LEGACY_MACS)),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_algorithms_are_offered_under_legacy_only() {
        let text = |policy: AlgorithmPolicy| format!("{:?}", policy.offer());
        for policy in [AlgorithmPolicy::Modern, AlgorithmPolicy::Compat] {
            for old in ["sha1", "cbc", "ecdh-sha2-nistp", "\"ssh-rsa\"", "\"ecdsa\""] {
                assert!(!text(policy).contains(old), "{policy:?} {old}");
                assert!(text(AlgorithmPolicy::Legacy).contains(old), "{old}");
            }
        }
        let modern = AlgorithmPolicy::Modern.offer();
        assert_eq!(modern.key_exchanges, ["mlkem768x25519-sha256"]);
        assert!(modern.macs.iter().all(|mac| mac.contains("-etm@")));
        assert!(!text(AlgorithmPolicy::Modern).contains("ctr"));
        for policy in AlgorithmPolicy::ALL {
            assert!(text(policy).contains("aes128-gcm@openssh.com"));
            let kex = preferred(policy).kex;
            assert!(kex.contains(&kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER));
            assert!(policy.takes_key(&Algorithm::Rsa { hash: Some(HashAlg::Sha256) }));
        }
        assert!(!AlgorithmPolicy::Compat.takes_key(&Algorithm::Rsa { hash: None }));
    }
}
