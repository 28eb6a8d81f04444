//! OpenSSH user certificates: which one stands for an account's key.

use std::net::IpAddr;

use jiff::Timestamp;
use russh::keys::ssh_key::certificate::{CertType, Certificate};
use russh::keys::ssh_key::{Algorithm, Fingerprint};

use super::Network;

/// Why a certificate opens nothing; for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Worthless {
    #[error("it is a host certificate")]
    NotForUsers,
    #[error("it does not name the account")]
    OtherPrincipal,
    #[error("its authority signed with SHA-1")]
    Sha1,
    #[error("it is expired, not yet valid, or of an unknown authority")]
    NotValid,
    #[error("it may not be used from this address")]
    OtherAddress,
    #[error("it has a critical option that is not known here")]
    CriticalOption,
}

/// Whether the certificate stands for the account's key. That the client has its private key, russh
/// has checked.
pub(super) fn check(
    certificate: &Certificate,
    authorities: &[Fingerprint],
    account: &str,
    peer: IpAddr,
    now: Timestamp,
) -> Result<(), Worthless> {
    if certificate.cert_type() != CertType::User {
        return Err(Worthless::NotForUsers);
    }
    // One without principals would open every account of the authority.
    if !certificate.valid_principals().iter().any(|principal| principal == account) {
        return Err(Worthless::OtherPrincipal);
    }
    if certificate.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
        return Err(Worthless::Sha1);
    }
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    certificate.validate_at(now, authorities).map_err(|_| Worthless::NotValid)?;
    for (name, value) in certificate.critical_options().iter() {
        match name.as_str() {
            "source-address" if !is_from(value, peer) => return Err(Worthless::OtherAddress),
            "source-address" => {}
            // `force-command` among them: there are no commands here to be forced.
            _ => return Err(Worthless::CriticalOption),
        }
    }
    Ok(())
}

fn is_from(networks: &str, peer: IpAddr) -> bool {
    let networks = networks.split(',').map(|network| network.trim().parse::<Network>());
    networks.flatten().any(|network| network.contains(peer))
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::HashAlg;
    use russh::keys::ssh_key::certificate::Builder;
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::*;

    fn key(number: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[number; 32]))
    }

    /// A certificate for `erp` with the given critical option.
    fn certificate(authority: u8, kind: CertType, option: Option<(&str, &str)>) -> Certificate {
        let public = key(1).public_key().key_data().clone();
        let mut builder = Builder::new([7; 16], public, 1000, 2000).unwrap();
        builder.cert_type(kind).unwrap().valid_principal("erp").unwrap();
        if let Some((name, value)) = option {
            builder.critical_option(name, value).unwrap();
        }
        builder.sign(&key(authority)).unwrap()
    }

    #[test]
    fn only_a_fitting_certificate_of_a_known_authority_counts() {
        let (user, from) = (CertType::User, "source-address");
        let rows = [
            (9, user, None, "erp", 1500, Ok(())),
            (8, user, None, "erp", 1500, Err(Worthless::NotValid)),
            (9, user, None, "erp", 999, Err(Worthless::NotValid)),
            (9, user, None, "erp", 2000, Err(Worthless::NotValid)),
            (9, user, None, "crm", 1500, Err(Worthless::OtherPrincipal)),
            (9, CertType::Host, None, "erp", 1500, Err(Worthless::NotForUsers)),
            (9, user, Some((from, "192.0.2.0/24,::1")), "erp", 1500, Ok(())),
            (9, user, Some((from, "10.0.0.0/8")), "erp", 1500, Err(Worthless::OtherAddress)),
            (9, user, Some((from, "any")), "erp", 1500, Err(Worthless::OtherAddress)),
            (9, user, Some(("force-command", "x")), "erp", 1500, Err(Worthless::CriticalOption)),
        ];
        let known = [key(9).public_key().fingerprint(HashAlg::Sha256)];
        let peer = "192.0.2.7".parse().unwrap();
        for (index, (authority, kind, option, account, second, expected)) in
            rows.into_iter().enumerate()
        {
            let certificate = certificate(authority, kind, option);
            let now = Timestamp::from_second(second).unwrap();
            assert_eq!(check(&certificate, &known, account, peer, now), expected, "row {index}");
        }
    }

    #[test]
    fn a_certificate_for_everybody_is_for_nobody() {
        let public = key(1).public_key().key_data().clone();
        let mut builder = Builder::new([7; 16], public, 1000, 2000).unwrap();
        builder.cert_type(CertType::User).unwrap().all_principals_valid().unwrap();
        let certificate = builder.sign(&key(9)).unwrap();
        let known = [key(9).public_key().fingerprint(HashAlg::Sha256)];
        let (peer, now) = ("::1".parse().unwrap(), Timestamp::from_second(1500).unwrap());
        let result = check(&certificate, &known, "erp", peer, now);
        assert_eq!(result, Err(Worthless::OtherPrincipal));
    }
}
