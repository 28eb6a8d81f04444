//! Cells with addresses: what is accepted is what those who send take, and stays what it is.
//!
//! The input is two letters of a country, and the cell.
#![no_main]

use dropchute::records::fuzzing::{email, is_mailbox, phone};
use lettre::Address;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (country, cell) = text.split_at(text.floor_char_boundary(2));
    an_email(cell);
    a_phone(cell, &country.to_ascii_uppercase());
    a_phone(cell, "");
    if is_mailbox(cell) {
        let inner = cell.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
        let address = inner.map_or(cell, |(_, address)| address);
        address.parse::<Address>().unwrap_or_else(|error| panic!("{cell:?}: {error}"));
    }
});

fn an_email(cell: &str) {
    let Ok(address) = email(cell) else { return };
    assert_eq!(email(&address).as_ref(), Ok(&address), "{cell:?}");
    address.parse::<Address>().unwrap_or_else(|error| panic!("{address:?}: {error}"));
    assert!(address.len() <= 254);
    // Nothing that could end a line or begin another address.
    assert!(!address.contains(char::is_control), "{address:?}");
    let (local, domain) = address.rsplit_once('@').expect("an address");
    assert_eq!(local, cell.rsplit_once('@').expect("an address").0);
    assert!(domain.is_ascii() && domain == domain.to_ascii_lowercase(), "{domain:?}");
    assert!(domain.contains('.') && !domain.ends_with('.') && !domain.contains(".."), "{domain:?}");
}

fn a_phone(cell: &str, country: &str) {
    let Ok(number) = phone(cell, country) else { return };
    let digits = number.strip_prefix('+').expect("E.164");
    assert!((7..=15).contains(&digits.len()), "{number}");
    assert!(digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'), "{number}");
    // The country is no longer asked for.
    assert_eq!(phone(&number, "").as_ref(), Ok(&number), "{cell:?}");
    assert_eq!(phone(&number, country).as_ref(), Ok(&number), "{cell:?}");
    assert_eq!(phone(&number, "US").as_ref(), Ok(&number), "{cell:?}");
    // No digit is made up: all that were given are there, less leading zeros and what stands for +.
    let given: String = cell.chars().filter_map(|c| c.to_digit(10)).map(|d| d.to_string()).collect();
    let last = &digits[digits.len() - 4..];
    assert!(cell.contains(".0") || !cell.is_ascii() || given.ends_with(last), "{cell:?} {number}");
}
