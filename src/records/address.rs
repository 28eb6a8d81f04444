//! Addresses: an email as mail servers take it, a phone number as E.164. Digits are never guessed.

use email_address::{EmailAddress, Options};
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, Region};

use super::e164::is_e164;
use crate::codes::ReasonCode;
use crate::model::is_invisible;

/// Longest address a mail server takes (RFC 5321, 4.5.3.1.3, less the angle brackets).
const EMAIL_MAX_BYTES: usize = 254;
/// Longest number with its country code, in digits (E.164, 6.1).
const E164_MAX_DIGITS: usize = 15;
/// Longer cells are no phone numbers; the parser is not asked.
const PHONE_MAX_BYTES: usize = 64;

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: ReasonCode,
    pub(super) message: &'static str,
    pub(super) hint: &'static str,
}

/// Writes the normalised address behind `out`: local part kept, domain in lower case and punycode.
pub(super) fn email(given: &str, out: &mut String) -> Result<(), Fault> {
    let start = out.len();
    let fault = |message| {
        let (message, hint) =
            email_slip(given).unwrap_or((message, ReasonCode::RowEmailInvalid.advice()));
        Fault { code: ReasonCode::RowEmailInvalid, message, hint }
    };
    let Some((local, domain)) = given.rsplit_once('@') else {
        return Err(fault("the email address has no @"));
    };
    out.push_str(local);
    out.push('@');
    let domain_start = out.len();
    if domain.is_ascii() {
        out.push_str(domain);
        out[domain_start..].make_ascii_lowercase();
    } else {
        let ascii = idna::domain_to_ascii(domain)
            .map_err(|_| fault("the domain of the email address is not valid"))?;
        out.push_str(&ascii);
    }
    let address = &out[start..];
    if address.len() > EMAIL_MAX_BYTES || !ends_in_a_name(&out[domain_start..]) {
        return Err(fault("the domain of the email address is not valid, or it is too long"));
    }
    if is_plain(local, &out[domain_start..]) || is_valid(address) {
        Ok(())
    } else {
        Err(fault(ReasonCode::RowEmailInvalid.meaning()))
    }
}

/// What partners write instead of an address, and what to do about it.
fn email_slip(given: &str) -> Option<(&'static str, &'static str)> {
    if given.contains(is_invisible) {
        let message = "the email address holds an invisible character";
        return Some((message, "type the address anew: the character was copied with it"));
    }
    if given.matches('@').count() > 1 && given.contains([',', ';', '|', ' ']) {
        return Some(("the cell holds more than one email address", "write one address a row"));
    }
    if given.contains(['<', '>']) || given.starts_with("mailto:") {
        let message = "the email address does not stand alone";
        return Some((message, "write the address alone, such as ann@example.com"));
    }
    given
        .contains(char::is_whitespace)
        .then_some(("the email address holds a space", "remove the space"))
}

/// True for text that is one email address and nothing else.
pub(super) fn is_email(text: &str) -> bool {
    text.contains('@') && email(text, &mut String::new()).is_ok()
}

/// True for `a@b.example` and for `Name <a@b.example>`.
pub(super) fn is_mailbox(text: &str) -> bool {
    match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((_, address)) => is_email(address),
        None => is_email(text),
    }
}

/// The strict grammar, for what is not plain: quoted local parts, other scripts.
fn is_valid(address: &str) -> bool {
    let strict =
        Options::default().with_required_tld().without_domain_literal().without_display_text();
    EmailAddress::parse_with_options(address, strict).is_ok()
}

/// The common case, settled without asking the grammar: letters, digits and the few signs of a
/// dot-atom (RFC 5322, 3.2.3) before a host name of at least two labels.
fn is_plain(local: &str, domain: &str) -> bool {
    local.len() <= 64
        && dotted(local.as_bytes(), 64, &ATOM).is_some()
        && dotted(domain.as_bytes(), 63, &HOST).is_some_and(|labels| labels >= 2)
        // A label neither begins nor ends with a hyphen.
        && !(domain.contains('-')
            && (domain.split('.').any(|label| label.starts_with('-') || label.ends_with('-'))))
}

/// Which bytes may stand in a part between dots; looked up, since every address passes here.
const ATOM: [bool; 256] = letters_digits_and(b"!#$%&'*+-/=?^_`{|}~");
const HOST: [bool; 256] = letters_digits_and(b"-");

const fn letters_digits_and(signs: &[u8]) -> [bool; 256] {
    let mut fits = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        fits[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < signs.len() {
        fits[signs[at] as usize] = true;
        at += 1;
    }
    fits
}

/// The number of parts between dots, if each is of the right bytes, not empty and not too long.
fn dotted(text: &[u8], longest: usize, fits: &[bool; 256]) -> Option<usize> {
    let (mut parts, mut length) = (1, 0);
    for byte in text {
        if *byte != b'.' {
            length += 1;
            if length > longest || !fits[usize::from(*byte)] {
                return None;
            }
        } else if length == 0 {
            return None;
        } else {
            (parts, length) = (parts + 1, 0);
        }
    }
    (length > 0).then_some(parts)
}

/// A top-level domain has a letter; an address of digits is no host name.
fn ends_in_a_name(domain: &str) -> bool {
    let mut top = domain.bytes().rev().take_while(|b| *b != b'.');
    top.any(|b| b.is_ascii_alphabetic())
}

/// Writes the number as E.164 behind `out`. `region` is the row's or the tenant's country.
pub(super) fn phone(given: &str, region: Option<Region>, out: &mut String) -> Result<(), Fault> {
    if is_e164(given) {
        out.push_str(given);
        return Ok(());
    }
    let text = given.trim_start_matches('\'').trim();
    let text = text.strip_prefix("tel:").unwrap_or(text);
    if is_scientific(text) {
        return Err(Fault {
            code: ReasonCode::RowPhoneDamaged,
            message: "a spreadsheet program rounded the phone number; its last digits are lost",
            hint: ReasonCode::RowPhoneDamaged.advice(),
        });
    }
    // A number that went through a floating-point column: all digits are still there.
    let zeros = [".0", ",0", ".00", ",00"].iter().find_map(|zeros| text.strip_suffix(zeros));
    let text = zeros.unwrap_or(text);
    if has_thousands(text) {
        return Err(Fault {
            code: ReasonCode::RowPhoneDamaged,
            message: "a spreadsheet program cut the phone number into thousands",
            hint: ReasonCode::RowPhoneDamaged.advice(),
        });
    }
    let invalid = Fault {
        code: ReasonCode::RowPhoneInvalid,
        message: ReasonCode::RowPhoneInvalid.meaning(),
        hint: ReasonCode::RowPhoneInvalid.advice(),
    };
    // Letters, and what the parser takes for the beginning of an extension, which it drops.
    let strange = |c: char| {
        c.is_alphabetic()
            || matches!(c, '#' | '*' | ',' | ';' | '=' | '"' | '~' | '\u{FF03}' | '\u{FF5E}')
    };
    if text.len() > PHONE_MAX_BYTES || text.contains(strange) {
        return Err(invalid);
    }
    let international = text.starts_with(['+', '\u{FF0B}']) || text.starts_with("(+");
    if region.is_none() && !international {
        return Err(Fault {
            code: ReasonCode::RowPhoneNeedsCountry,
            message: ReasonCode::RowPhoneNeedsCountry.meaning(),
            hint: ReasonCode::RowPhoneNeedsCountry.advice(),
        });
    }
    if let Some(number) = valid(text, region) {
        if !international && is_ambiguous(text, &number) {
            return Err(lost_plus());
        }
        let written = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164);
        // The rules of some countries let longer numbers pass than there can be.
        if written.len() > 1 + E164_MAX_DIGITS {
            return Err(invalid);
        }
        out.push_str(&written);
        return Ok(());
    }
    Err(lost_digits(text, international, region).unwrap_or(invalid))
}

fn valid(text: &str, region: Option<Region>) -> Option<PhoneNumber> {
    let number = PHONE_NUMBER_UTIL.parse(text, region).ok()?;
    PHONE_NUMBER_UTIL.is_valid_number(&number).then_some(number)
}

/// True where the digits are a number of the same country both with and without their country code:
/// 4915112345678 in Germany is a mobile phone, or a landline in Wittmund.
fn is_ambiguous(text: &str, number: &PhoneNumber) -> bool {
    !text.starts_with('0')
        && valid(&format!("+{text}"), None)
            .is_some_and(|other| other.country_code == number.country_code && other != *number)
}

/// A number that would be valid with a zero or a plus before it lost them on the way. It is named,
/// never repaired: which of the two was meant is a guess.
fn lost_digits(text: &str, international: bool, region: Option<Region>) -> Option<Fault> {
    if international || text.starts_with('0') {
        return None;
    }
    if valid(&format!("+{text}"), None).is_some() {
        return Some(lost_plus());
    }
    let with_zero = region.is_some() && valid(&format!("0{text}"), region).is_some();
    with_zero.then_some(Fault {
        code: ReasonCode::RowPhoneDamaged,
        message: "the phone number lost its leading zero",
        hint: "format the column as text and export again, or write the number with country code",
    })
}

fn lost_plus() -> Fault {
    Fault {
        code: ReasonCode::RowPhoneDamaged,
        message: "the phone number lost the + or 00 before its country code",
        hint: "write it with +, and format the column as text",
    }
}

/// `4,915,112,345,678`: a number of a spreadsheet, which may have lost zeros.
fn has_thousands(text: &str) -> bool {
    let mut groups = text.split(',');
    let first = groups.next().unwrap_or_default();
    let is_group = |group: &str| group.len() == 3 && group.bytes().all(|b| b.is_ascii_digit());
    text.contains(',')
        && (1..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_digit())
        && groups.all(is_group)
}

/// `4.915E+11` and `4,915E+11`: what a spreadsheet makes of a long number.
pub(super) fn is_scientific(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let Some((mantissa, exponent)) = text.split_once(['E', 'e']) else { return false };
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once(['.', ',']) {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(mantissa),
    };
    mantissa_fits && digits(exponent) && exponent.len() <= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_are_checked_and_normalised() {
        for (given, expected) in [
            ("Jane.Doe+x@Example.COM", Some("Jane.Doe+x@example.com")),
            ("a@b.co", Some("a@b.co")),
            ("a@münchen.example", Some("a@xn--mnchen-3ya.example")),
            ("\"a b\"@x.example", Some("\"a b\"@x.example")),
            ("a@b", None),
            ("a@[127.0.0.1]", None),
            ("a@127.0.0.1", None),
            ("Jane <j@example.com>", None),
            ("<j@example.com>", None),
            ("a..b@x.example", None),
            (".a@x.example", None),
            ("a.@x.example", None),
            ("a@-x.example", None),
            ("a@x..example", None),
            ("a@x.example.", None),
            (" a@x.example", None),
            ("a b@x.example", None),
            ("a@x.example,b@x.example", None),
            ("a@x.example\nBcc: c@x.example", None),
            ("@x.example", None),
            ("a@", None),
            ("plain", None),
            ("", None),
        ] {
            let mut out = String::new();
            let found = email(given, &mut out).ok().map(|()| out.as_str());
            assert_eq!(found, expected, "{given:?}");
        }
        let long = format!("{}@x.example", "a".repeat(65));
        assert!(email(&long, &mut String::new()).is_err());
    }

    #[test]
    fn what_is_plain_is_also_valid_by_the_grammar() {
        let pieces = ["a", "A-1", ".", "@", "x.yz", "-", "_", "'", "{", "é", "\"", " ", "1"];
        let mut checked = 0;
        for one in pieces {
            for two in pieces {
                for three in pieces {
                    let (local, domain) = (format!("{one}{two}"), format!("x{three}b.c{two}"));
                    if is_plain(&local, &domain) {
                        assert!(is_valid(&format!("{local}@{domain}")), "{local}@{domain}");
                        checked += 1;
                    }
                }
            }
        }
        assert!(checked > 50, "{checked}");
    }

    #[test]
    fn phones_become_e164_or_a_reason() {
        use ReasonCode::{RowPhoneDamaged, RowPhoneInvalid, RowPhoneNeedsCountry};
        let region = |code: &str| code.parse::<Region>().ok();
        for (given, country, expected) in [
            ("+49 151 12345678", "", Ok("+4915112345678")),
            ("0151/12345678", "DE", Ok("+4915112345678")),
            ("0049 151 12345678", "DE", Ok("+4915112345678")),
            ("'+4915112345678", "", Ok("+4915112345678")),
            ("tel:+49-151-12345678", "", Ok("+4915112345678")),
            ("15112345678", "DE", Ok("+4915112345678")),
            ("015112345678.0", "DE", Ok("+4915112345678")),
            ("015112345678,00", "DE", Ok("+4915112345678")),
            ("4,915,112,345,678", "DE", Err(RowPhoneDamaged)),
            ("1 201 555 0123", "US", Ok("+12015550123")),
            ("4915112345678", "DE", Err(RowPhoneDamaged)),
            ("(201) 555-0123", "US", Ok("+12015550123")),
            ("02 3661 8300", "IT", Ok("+390236618300")),
            ("2 3661 8300", "IT", Err(RowPhoneDamaged)),
            ("4915112345678", "AT", Err(RowPhoneDamaged)),
            ("4.915E+11", "DE", Err(RowPhoneDamaged)),
            ("4,91511E+12", "DE", Err(RowPhoneDamaged)),
            ("0151 12345678", "", Err(RowPhoneNeedsCountry)),
            ("+49 151", "", Err(RowPhoneInvalid)),
            ("12", "DE", Err(RowPhoneInvalid)),
            // Sixteen digits, which the rules for Germany let pass.
            ("'23 123434675678", "DE", Err(RowPhoneInvalid)),
            ("1-800-FLOWERS", "US", Err(RowPhoneInvalid)),
            ("+4915112345678 ext 3", "", Err(RowPhoneInvalid)),
            ("no phone", "DE", Err(RowPhoneInvalid)),
            ("02 1829 83~0", "IT", Err(RowPhoneInvalid)),
            ("02 1829 83\u{FF5E}0", "IT", Err(RowPhoneInvalid)),
        ] {
            let mut out = String::new();
            let found = phone(given, region(country), &mut out);
            let found = found.map(|()| out.as_str()).map_err(|fault| fault.code);
            assert_eq!(found, expected, "{given:?} in {country:?}");
        }
    }
}
