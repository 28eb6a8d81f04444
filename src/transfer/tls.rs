//! The certificate of the FTP door.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::FtpSettings;
use super::host_key::write_secret;

/// TLS 1.2 and 1.3 with the operator's certificate, or with a self-signed one kept in `data_dir`.
pub(super) fn server_config(
    settings: &FtpSettings,
    data_dir: &Path,
) -> io::Result<Arc<ServerConfig>> {
    let (certificate_file, key_file) = match (&settings.certificate_file, &settings.key_file) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => self_signed(settings, data_dir)?,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&certificate_file)
        .map_err(io::Error::other)?
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(&key_file).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

fn self_signed(settings: &FtpSettings, data_dir: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (certificate, key) =
        (data_dir.join("ftp_self_signed.crt"), data_dir.join("ftp_self_signed.key"));
    tracing::warn!(
        certificate = %certificate.display(),
        "no certificate_file for FTP: partners see a self-signed certificate"
    );
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    for left in [&certificate, &key] {
        if left.exists() {
            std::fs::remove_file(left)?;
        }
    }
    let mut names = vec!["localhost".to_owned()];
    names.extend(settings.public_address.map(|address| address.to_string()));
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    write_secret(&key, made.signing_key.serialize_pem().as_bytes())?;
    write_secret(&certificate, made.cert.pem().as_bytes())?;
    Ok((certificate, key))
}
