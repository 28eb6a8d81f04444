//! How many parts an SMS is sent as, which is what providers count and bill.

/// Letters of the GSM alphabet (3GPP 23.038) beside A to Z, a to z and 0 to 9.
const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";
/// Those that take an escape in front.
const ESCAPED: &str = "^{}\\[~]|€\u{c}";

/// Septets of one part, of each of several, and the same in UTF-16 for any other alphabet.
const SEPTETS: (usize, usize) = (160, 153);
const UNITS: (usize, usize) = (70, 67);

/// The parts of a text; at least one.
pub fn sms_parts(text: &str) -> u32 {
    let septets: Option<Vec<usize>> = text.chars().map(septets).collect();
    match septets {
        Some(widths) => parts(widths.into_iter(), SEPTETS),
        None => parts(text.chars().map(char::len_utf16), UNITS),
    }
}

/// None of a letter that the alphabet does not have.
fn septets(c: char) -> Option<usize> {
    match c {
        _ if c.is_ascii_alphanumeric() || GSM.contains(c) => Some(1),
        _ if ESCAPED.contains(c) => Some(2),
        _ => None,
    }
}

/// No letter is split over two parts.
fn parts(widths: impl Iterator<Item = usize> + Clone, (single, each): (usize, usize)) -> u32 {
    if widths.clone().sum::<usize>() <= single {
        return 1;
    }
    let (mut parts, mut filled) = (1, 0);
    for width in widths {
        if filled + width > each {
            (parts, filled) = (parts + 1, 0);
        }
        filled += width;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of an independent implementation, sms-segments-calculator 1.3.0.
    #[test]
    fn parts_are_counted_as_providers_count_them() {
        for (letter, count, expected) in [
            ("a", 0, 1),
            ("a", 160, 1),
            ("a", 161, 2),
            ("a", 306, 2),
            ("a", 307, 3),
            ("€", 80, 1),
            ("€", 81, 2),
            ("я", 70, 1),
            ("я", 71, 2),
            ("я", 134, 2),
            ("я", 135, 3),
            ("😀", 35, 1),
            ("😀", 36, 2),
            ("ç", 71, 2),
            ("Ç", 160, 1),
            ("`", 71, 2),
        ] {
            assert_eq!(sms_parts(&letter.repeat(count)), expected, "{count} times {letter}");
        }
        // 152 letters and an escaped one do not fit into the first part.
        let split = format!("{}€{}", "a".repeat(152), "a".repeat(152));
        assert_eq!(sms_parts(&split), 3);
    }
}
