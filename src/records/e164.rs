//! Phone numbers that are E.164 as they stand, settled by their country's own patterns.
//!
//! The parser's way through a cell (extensions, vanity letters, a second number, prefixes for dialling
//! abroad) costs far more than the patterns do, and of a plus and digits it says nothing new.

use rlibphonenumber::interfaces::AsOriginal;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberType};

/// Digits of a number with its country code: fewer or more are the parser's to judge.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Longest country code.
const CODE_MAX_DIGITS: usize = 3;

/// True where the parser would find a valid number and write it just so; false where it must be asked.
pub(super) fn is_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    DIGITS.contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
        && is_valid(digits).unwrap_or(false)
}

/// `None` where no country has such a code, or the national part begins like a prefix that the parser
/// would take away.
fn is_valid(digits: &str) -> Option<bool> {
    let util = PHONE_NUMBER_UTIL.as_original();
    let split = (1..=CODE_MAX_DIGITS).map(|length| digits.split_at(length));
    let (national, code, region) = split.into_iter().find_map(|(code, national)| {
        let code = code.parse().ok()?;
        Some((national, code, util.get_region_for_country_code(code)?))
    })?;
    // Of countries that share a code the parser asks this one first, and is content if it is.
    let metadata = util.get_metadata_for_region_or_calling_code(code, region)?;
    let prefix = metadata.national_prefix_for_parsing().anchor_start().ok()?;
    if prefix.is_some_and(|prefix| prefix.is_match(national)) {
        return None;
    }
    // Most are mobile phones: this asks two patterns instead of a dozen.
    let same = metadata.original.same_mobile_and_fixed_line_pattern();
    let usual = if same { &metadata.fixed_line } else { &metadata.mobile };
    let matches = |desc| util.is_number_matching_desc(national, desc).ok();
    if matches(&metadata.general_desc)? && matches(usual)? {
        return Some(true);
    }
    let kind = util.get_number_type_helper(national, metadata).ok()?;
    Some(kind != PhoneNumberType::Unknown)
}

#[cfg(test)]
mod tests {
    use rlibphonenumber::{PhoneNumberFormat, Region};

    use super::*;

    /// What the parser makes of it, in a country.
    fn parsed(text: &str, region: Option<Region>) -> Option<String> {
        let number = PHONE_NUMBER_UTIL.parse(text, region).ok()?;
        let valid = PHONE_NUMBER_UTIL.is_valid_number(&number);
        valid.then(|| PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned())
    }

    /// Numbers that look as if they were thrown, the same in every run.
    fn thrown(below: u64, state: &mut u64) -> u64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }

    /// Examples of every kind and country with some of their digits changed, cut or doubled.
    #[test]
    fn what_is_settled_here_is_what_the_parser_says() {
        const KINDS: [PhoneNumberType; 6] = [
            PhoneNumberType::Mobile,
            PhoneNumberType::FixedLine,
            PhoneNumberType::TollFree,
            PhoneNumberType::VoIP,
            PhoneNumberType::SharedCost,
            PhoneNumberType::UAN,
        ];
        let mut regions: Vec<Region> = PHONE_NUMBER_UTIL.get_supported_regions().collect();
        regions.sort_by_key(|region| format!("{region:?}"));
        let (mut state, mut settled, mut valid) = (7, 0, 0);
        for region in &regions {
            for kind in KINDS {
                let example =
                    PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(*region, kind);
                let Ok(example) = example else { continue };
                let example = PHONE_NUMBER_UTIL.format(&example, PhoneNumberFormat::E164);
                for change in 0..12 {
                    let mut text = example.clone().into_owned().into_bytes();
                    for _ in 0..change / 3 {
                        let at = 1 + thrown(text.len() as u64 - 1, &mut state) as usize;
                        match thrown(8, &mut state) {
                            0 => drop(text.remove(at)),
                            1 => text.insert(at, text[at]),
                            _ => text[at] = b'0' + thrown(10, &mut state) as u8,
                        }
                    }
                    let text = String::from_utf8(text).unwrap();
                    let at_home = regions[thrown(regions.len() as u64, &mut state) as usize];
                    for home in [None, Some(*region), Some(at_home)] {
                        let expected = parsed(&text, home);
                        valid += u64::from(expected.is_some());
                        if is_e164(&text) {
                            assert_eq!(expected.as_ref(), Some(&text), "{text} in {home:?}");
                            settled += 1;
                        }
                    }
                }
            }
        }
        assert!(valid > 10_000 && settled * 10 > valid * 9, "{settled} of {valid}");
    }

    #[test]
    fn what_is_not_a_plus_and_digits_is_left_to_the_parser() {
        for text in ["", "+", "4915112345678", "+49 15112345678", "+4915112345678x1", "+999123456"]
        {
            assert!(!is_e164(text), "{text}");
        }
        assert!(is_e164("+4915112345678"));
    }
}
