//! Ways to log in over SSH, with russh as the client.

use std::sync::Arc;

use dropchute::transfer::{Account, Factors, Tenant};
use hmac::{Hmac, KeyInit, Mac};
use russh::client::{AuthResult, KeyboardInteractiveAuthResponse};
use russh::keys::ssh_key::certificate::{Builder, CertType, Certificate};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg};
use sha1::Sha1;

use super::house::{House, PASSWORD, SECURE, account, key};
use super::sftp::{Ssh, connect, over};

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// The account `erp` with these ways to log in, a code generator, an authority, and a second key.
fn let_in(house: &House, login: &[&str]) {
    let mut erp = account("erp", SECURE);
    erp.ssh_keys.push(key(6).public_key().to_openssh().unwrap());
    house.accounts.replace(
        vec![Account {
            ssh_authorities: vec![key(9).public_key().to_openssh().unwrap()],
            totp_secret: Some(SECRET.parse().unwrap()),
            login: login.iter().map(|text| text.parse::<Factors>().unwrap()).collect(),
            ..erp
        }],
        vec![Tenant::new("acme".parse().unwrap())],
    );
}

/// The code of now, and those after it.
fn code(later: u64) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 30 + later;
    let mut mac = Hmac::<Sha1>::new_from_slice(b"12345678901234567890").unwrap();
    mac.update(&now.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let start = usize::from(digest[19] & 15);
    let word = u32::from_be_bytes(digest[start..start + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

async fn by_key(ssh: &mut Ssh, name: &str, number: u8) -> AuthResult {
    let key = PrivateKeyWithHashAlg::new(Arc::new(key(number)), None);
    ssh.authenticate_publickey(name, key).await.unwrap()
}

fn partial(result: &AuthResult) -> Option<String> {
    match result {
        AuthResult::Failure { remaining_methods, partial_success: true } => {
            Some(remaining_methods.iter().map(<&str>::from).collect::<Vec<_>>().join(","))
        }
        _ => None,
    }
}

/// Answers the questions of a dialogue; true where they let in.
async fn dialogue(ssh: &mut Ssh, name: &str, answers: &[(&str, String)]) -> bool {
    let mut response = ssh.authenticate_keyboard_interactive_start(name, None).await.unwrap();
    for (question, answer) in answers {
        let KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } = &response else {
            return matches!(response, KeyboardInteractiveAuthResponse::Success);
        };
        assert_eq!(prompts[0].prompt, *question);
        assert!(!prompts[0].echo);
        let answers = vec![answer.clone()];
        response = ssh.authenticate_keyboard_interactive_respond(answers).await.unwrap();
    }
    matches!(response, KeyboardInteractiveAuthResponse::Success)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_of_the_account_lets_in_and_a_dialogue_takes_the_password() {
    let house = House::open();
    let_in(&house, &["key", "password"]);
    for number in [7, 6] {
        assert!(by_key(&mut connect(&house).await, "erp", number).await.success());
    }
    let mut ssh = connect(&house).await;
    assert!(!by_key(&mut ssh, "erp", 5).await.success());
    assert!(!dialogue(&mut ssh, "erp", &[("Password: ", "wrong".to_owned())]).await);
    assert!(dialogue(&mut ssh, "erp", &[("Password: ", PASSWORD.to_owned())]).await);
    let mut ssh = connect(&house).await;
    assert!(!dialogue(&mut ssh, "nobody", &[("Password: ", PASSWORD.to_owned())]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_factors_are_both_asked_for() {
    let house = House::open();
    let_in(&house, &["key+password"]);
    let mut ssh = connect(&house).await;
    let first = by_key(&mut ssh, "erp", 7).await;
    assert_eq!(partial(&first).unwrap(), "password,keyboard-interactive");
    assert!(ssh.channel_open_session().await.is_err(), "half a login opens nothing");
    let mut ssh = connect(&house).await;
    by_key(&mut ssh, "erp", 7).await;
    let wrong = ssh.authenticate_password("erp", "wrong").await.unwrap();
    assert!(!wrong.success() && partial(&wrong).is_none());
    assert!(ssh.authenticate_password("erp", PASSWORD).await.unwrap().success());
    over(ssh).await.put("/inbox/a.csv", b"x").await.unwrap();
}

/// A key proved for one account, a password for another: CVE-2026-46705.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn factors_of_two_accounts_do_not_add_up() {
    let house = House::open();
    let_in(&house, &["key+password"]);
    let erp = account("erp", SECURE);
    let both = vec!["key+password".parse().unwrap()];
    let crm = Account {
        name: "crm".to_owned(),
        ssh_keys: vec![key(4).public_key().to_openssh().unwrap()],
        login: both.clone(),
        ..erp.clone()
    };
    let tenants = vec![Tenant::new("acme".parse().unwrap())];
    house.accounts.replace(vec![Account { login: both, ..erp }, crm], tenants);
    let mut ssh = connect(&house).await;
    assert!(partial(&by_key(&mut ssh, "crm", 4).await).is_some());
    let second = ssh.authenticate_password("erp", PASSWORD).await.unwrap();
    assert_eq!(partial(&second).unwrap(), "publickey");
    // And back: the key of before counts for nothing any more.
    let third = ssh.authenticate_password("crm", PASSWORD).await.unwrap();
    assert_eq!(partial(&third).unwrap(), "publickey");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_asked_for_after_the_first_factor_and_counts_once() {
    let house = House::open();
    let_in(&house, &["key+totp", "password+totp"]);
    let mut ssh = connect(&house).await;
    assert_eq!(partial(&by_key(&mut ssh, "erp", 7).await).unwrap(), "keyboard-interactive");
    assert!(!dialogue(&mut ssh, "erp", &[("Verification code: ", "000000".to_owned())]).await);
    let now = code(0);
    assert!(dialogue(&mut ssh, "erp", &[("Verification code: ", now.clone())]).await);

    let mut ssh = connect(&house).await;
    let password = ("Password: ", PASSWORD.to_owned());
    assert!(!dialogue(&mut ssh, "erp", &[password.clone(), ("Verification code: ", now)]).await);
    let mut ssh = connect(&house).await;
    assert!(dialogue(&mut ssh, "erp", &[password, ("Verification code: ", code(1))]).await);
    // Nor does a password open FTP, where no code could be asked for.
    let mut ftp = suppaftp::FtpStream::connect(house.ftp).unwrap();
    assert!(ftp.login("erp", PASSWORD).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_the_authority_count_as_keys() {
    let house = House::open();
    let_in(&house, &["key"]);
    let certificate = |authority: u8, principal: &str, option: Option<&str>| -> Certificate {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let public = key(3).public_key().key_data().clone();
        let mut builder = Builder::new([1; 16], public, now - 60, now + 60).unwrap();
        builder.cert_type(CertType::User).unwrap().valid_principal(principal).unwrap();
        if let Some(networks) = option {
            builder.critical_option("source-address", networks).unwrap();
        }
        builder.sign(&key(authority)).unwrap()
    };
    for (authority, principal, option, expected) in [
        (9, "erp", None, true),
        (9, "erp", Some("127.0.0.0/8"), true),
        (9, "erp", Some("192.0.2.1"), false),
        (9, "crm", None, false),
        (8, "erp", None, false),
    ] {
        let mut ssh = connect(&house).await;
        let certificate = certificate(authority, principal, option);
        assert_eq!(
            certificate.signature_key().fingerprint(HashAlg::Sha256).algorithm(),
            HashAlg::Sha256
        );
        let result = ssh.authenticate_openssh_cert("erp", Arc::new(key(3)), certificate).await;
        assert_eq!(result.unwrap().success(), expected, "{authority} {principal} {option:?}");
    }
    // The key alone, without its certificate, is nobody's.
    assert!(!by_key(&mut connect(&house).await, "erp", 3).await.success());
}
