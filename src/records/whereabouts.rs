//! The country a recipient is in, as far as a row tells.

use rlibphonenumber::PHONE_NUMBER_UTIL;

use super::message::MessageRow;
use crate::model::ChannelKind;

/// Longest country code.
const CODE_MAX_DIGITS: usize = 3;

/// That of the first number on the row's chain of channels, else the one that the row names, as two capital
/// letters; empty where neither tells.
pub fn country_of(message: &MessageRow) -> String {
    let further = message.further.iter().map(|step| (step.channel, &step.to));
    let by_phone =
        |channel| matches!(channel, ChannelKind::Sms | ChannelKind::Whatsapp | ChannelKind::Viber);
    let mut numbers = [(message.channel, &message.to)].into_iter().chain(further);
    let number = numbers.find(|(channel, _)| by_phone(*channel));
    let country = number.and_then(|(_, number)| country_of_number(number));
    country.unwrap_or_else(|| message.country.clone())
}

/// `None` for numbers that belong to no country, such as +800.
fn country_of_number(number: &str) -> Option<String> {
    let util = &PHONE_NUMBER_UTIL;
    let digits = number.strip_prefix('+')?;
    // Most codes are one country's: there the number itself need not be looked at.
    let regions = (1..=CODE_MAX_DIGITS.min(digits.len())).find_map(|length| {
        util.get_regions_for_country_calling_code(digits[..length].parse().ok()?)
    });
    let mut regions = regions?;
    let region = match regions.len() {
        1 => regions.next()?,
        _ => util.get_region_for_number(&util.parse(number, None).ok()?)?,
    };
    let name = region.as_region_str();
    (name.len() == 2 && name.bytes().all(|b| b.is_ascii_uppercase())).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_tells_its_country_where_it_has_one() {
        for (number, expected) in [
            ("+4915112345678", Some("DE")),
            ("+12125550123", Some("US")),
            ("+14165550123", Some("CA")),
            ("+441624612345", Some("IM")),
            ("+442071234567", Some("GB")),
            ("+79161234567", Some("RU")),
            ("+77011234567", Some("KZ")),
            ("+80012345678", None),
            ("+", None),
            ("", None),
            ("a@example.com", None),
        ] {
            assert_eq!(country_of_number(number).as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn the_number_outranks_the_country_that_the_row_names() {
        let row = |channel, to: &str, country: &str| MessageRow {
            channel,
            to: to.to_owned(),
            country: country.to_owned(),
            ..MessageRow::default()
        };
        assert_eq!(country_of(&row(ChannelKind::Sms, "+12125550123", "DE")), "US");
        assert_eq!(country_of(&row(ChannelKind::Sms, "+80012345678", "DE")), "DE");
        assert_eq!(country_of(&row(ChannelKind::Email, "a@example.com", "AT")), "AT");
        assert_eq!(country_of(&row(ChannelKind::Email, "a@example.com", "")), "");
    }
}
