//! One-time codes by time (RFC 6238): SHA-1, six digits, a new one every 30 seconds.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha1::Sha1;
use subtle::ConstantTimeEq;

const STEP_SECONDS: i64 = 30;
/// Codes before and after the present one that count: clocks differ, and people type slowly.
const DRIFT_STEPS: i64 = 1;
const DIGITS: usize = 6;
/// RFC 4226 asks for 128 bits; 80 are what the oldest generators make.
const SECRET_MIN_BYTES: usize = 10;

/// The secret a code generator shares with us.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(Vec<u8>);

/// A text that is no base32, or too short to be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("holds no secret in base32 of at least 16 characters")]
pub struct InvalidTotpSecret;

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

impl FromStr for TotpSecret {
    type Err = InvalidTotpSecret;

    /// Base32 (RFC 4648) as generators show it: any case, with or without blanks and padding.
    fn from_str(text: &str) -> Result<TotpSecret, InvalidTotpSecret> {
        let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
        for letter in text.trim().trim_end_matches('=').chars().filter(|c| !matches!(c, ' ' | '-'))
        {
            let value = match letter.to_ascii_uppercase() {
                letter @ 'A'..='Z' => letter as u32 - 'A' as u32,
                digit @ '2'..='7' => digit as u32 - '2' as u32 + 26,
                _ => return Err(InvalidTotpSecret),
            };
            bits = (bits << 5) | value;
            held += 5;
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
                bits &= (1 << held) - 1;
            }
        }
        if bytes.len() < SECRET_MIN_BYTES { Err(InvalidTotpSecret) } else { Ok(TotpSecret(bytes)) }
    }
}

impl TotpSecret {
    fn code(&self, step: i64) -> [u8; DIGITS] {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&step.to_be_bytes());
        let digest: [u8; 20] = mac.finalize().into_bytes().into();
        let start = usize::from(digest[19] & 0x0f);
        let mut word = [0; 4];
        word.copy_from_slice(&digest[start..start + 4]);
        let mut number = u32::from_be_bytes(word) & 0x7fff_ffff;
        let mut code = [0; DIGITS];
        for digit in code.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        code
    }
}

/// Which codes were used, by account: each counts once, and so do those before it.
#[derive(Debug, Default)]
pub(super) struct UsedCodes(Mutex<HashMap<String, i64>>);

impl UsedCodes {
    /// True where the code is right, of about now, and neither it nor a later one was used before.
    pub(super) fn spend(
        &self,
        account: &str,
        secret: &TotpSecret,
        given: &str,
        now: Timestamp,
    ) -> bool {
        let present = now.as_second().div_euclid(STEP_SECONDS);
        let given: Vec<u8> = given.bytes().filter(|b| *b != b' ').collect();
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = used.get(account).copied().unwrap_or(i64::MIN);
        for step in present - DRIFT_STEPS..=present + DRIFT_STEPS {
            if step > last && bool::from(secret.code(step).as_slice().ct_eq(&given)) {
                used.insert(account.to_owned(), step);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret "12345678901234567890" of RFC 6238, appendix B, in base32.
    const SECRET: &str = "GEZDGNBVGY3TQOJQ GEZDGNBVGY3TQOJQ";

    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret: TotpSecret = SECRET.parse().unwrap();
        assert_eq!(secret.0, b"12345678901234567890");
        let rows = [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ];
        for (second, code) in rows {
            assert_eq!(secret.code(second / STEP_SECONDS), code.as_bytes(), "{second}");
        }
        for bad in ["", "GEZDGNBVGY3TQOJ1", "GEZDGNBV", "ÄEZDGNBVGY3TQOJQ"] {
            assert_eq!(bad.parse::<TotpSecret>(), Err(InvalidTotpSecret), "{bad}");
        }
        assert!(!format!("{secret:?}").contains("49"));
    }

    #[test]
    fn a_code_counts_once_and_only_about_its_time() {
        let secret: TotpSecret = SECRET.parse().unwrap();
        let used = UsedCodes::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let spend = |code, second| used.spend("erp", &secret, code, at(second));
        assert!(!spend("081804", 1_111_111_109 + 90));
        assert!(!spend("081805", 1_111_111_109));
        assert!(!spend("", 1_111_111_109));
        assert!(spend("081 804", 1_111_111_109 + 30));
        assert!(!spend("081804", 1_111_111_109));
        // One account's codes are nothing to another's.
        assert!(used.spend("crm", &secret, "081804", at(1_111_111_109)));
        // What came before a used code is used up with it.
        let later = String::from_utf8(secret.code(1_111_111_109 / 30 + 1).to_vec()).unwrap();
        assert!(spend(&later, 1_111_111_109));
        assert!(!spend("081804", 1_111_111_109));
    }
}
