//! Values as operators write them: times, sizes, shares, words, addresses.

use std::net::SocketAddr;
use std::time::Duration;

use toml::de::DeValue;

use super::problem::Complaint;
use super::section::{Item, meant, plain};
use crate::pacing::Rate;
use crate::transfer::Network;

type Read<T> = Result<T, Complaint>;

pub(super) fn text(item: &Item<'_>) -> Read<String> {
    let text = str_of(item, "text in quotes")?;
    if text.contains('\0') {
        return Err(Complaint::new("holds a NUL byte"));
    }
    Ok(text.to_owned())
}

/// Text, or a number or truth value as text.
pub(super) fn plain_text(item: &Item<'_>) -> Read<String> {
    match item.get_ref() {
        DeValue::Array(_) | DeValue::Table(_) | DeValue::Datetime(_) => {
            Err(Complaint::must_be("text, a number, true or false"))
        }
        value => Ok(plain(value)),
    }
}

/// Text that must hold something.
pub(super) fn word(item: &Item<'_>) -> Read<String> {
    let text = text(item)?;
    if text.trim().is_empty() { Err(Complaint::new("is empty")) } else { Ok(text) }
}

pub(super) fn switch(item: &Item<'_>) -> Read<bool> {
    item.get_ref().as_bool().ok_or_else(|| Complaint::must_be("true or false"))
}

/// A whole number within bounds.
pub(super) fn number<N>(min: u64, max: u64) -> impl Fn(&Item<'_>) -> Read<N>
where
    N: TryFrom<u64>,
{
    move |item| {
        let complaint = || match max {
            u64::MAX => Complaint::must_be(format!("a whole number from {min}")),
            _ => Complaint::must_be(format!("a whole number from {min} to {max}")),
        };
        let number = item
            .get_ref()
            .as_integer()
            .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.filter(|n| (min..=max).contains(n)).ok_or_else(complaint)?;
        N::try_from(number).map_err(|_| complaint())
    }
}

/// A number with or without a fraction, within bounds.
pub(super) fn decimal(min: f64, max: f64) -> impl Fn(&Item<'_>) -> Read<f64> {
    move |item| {
        let number = match item.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        number
            .filter(|n| (min..=max).contains(n))
            .ok_or_else(|| Complaint::must_be(format!("a number from {min} to {max}")))
    }
}

/// A share as text, `"5%"`.
pub(super) fn percent(item: &Item<'_>) -> Read<f64> {
    let complaint = || Complaint::must_be("a share from \"0%\" to \"99%\", such as \"5%\"");
    let text = item.get_ref().as_str().ok_or_else(complaint)?;
    let number: f64 =
        text.strip_suffix('%').and_then(|n| n.trim().parse().ok()).ok_or_else(complaint)?;
    if (0.0..=99.0).contains(&number) { Ok(number / 100.0) } else { Err(complaint()) }
}

/// A span of time, `"2s"`, `"1h30m"`, of at least a millisecond.
pub(super) fn duration(item: &Item<'_>) -> Read<Duration> {
    match duration_or_zero(item)? {
        Duration::ZERO => Err(Complaint::new("is no time at all").allowed(DURATION)),
        duration => Ok(duration),
    }
}

/// A span of time that may be none.
pub(super) fn duration_or_zero(item: &Item<'_>) -> Read<Duration> {
    if item.get_ref().is_integer() {
        return Err(Complaint::new("has no unit").allowed(DURATION));
    }
    let text = str_of(item, DURATION)?;
    parse_duration(text).ok_or_else(|| Complaint::new("is no time span").allowed(DURATION))
}

const DURATION: &str = "a number and a unit of ms, s, m, h, d or w, such as \"90s\" or \"7d\"";

fn parse_duration(text: &str) -> Option<Duration> {
    /// About a century: long enough for every setting, far from overflow.
    const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_ms: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return None,
        };
        rest = rest[letters..].trim_start();
        total = total.checked_add(Duration::from_millis(number.checked_mul(unit_ms)?))?;
    }
    (total <= DURATION_MAX).then_some(total)
}

/// A number of bytes, `"64KiB"`.
pub(super) fn size(item: &Item<'_>) -> Read<u64> {
    const SIZE: &str = "a number and a unit of B, KiB, MiB, GiB or TiB, such as \"64KiB\"";
    if item.get_ref().is_integer() {
        return Err(Complaint::new("has no unit").allowed(SIZE));
    }
    size_of(str_of(item, SIZE)?).ok_or_else(|| Complaint::new("is no size").allowed(SIZE))
}

fn size_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit: Option<u64> = match text[digits..].trim_start().to_ascii_lowercase().as_str() {
        "b" => Some(1),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        "tib" => Some(1 << 40),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "tb" => Some(1_000_000_000_000),
        _ => None,
    };
    let number: Option<u64> = text[..digits].parse().ok();
    unit.and_then(|unit| number?.checked_mul(unit)).filter(|size| *size > 0)
}

/// A number of bytes a second, `"10MiB/s"`.
pub(super) fn bandwidth(item: &Item<'_>) -> Read<u64> {
    const BANDWIDTH: &str = "a size and \"/s\", such as \"10MiB/s\"";
    let complaint = || Complaint::new("is no bandwidth").allowed(BANDWIDTH);
    let text = str_of(item, BANDWIDTH)?;
    size_of(text.trim().strip_suffix("/s").ok_or_else(complaint)?).ok_or_else(complaint)
}

/// Messages per time, `"200/s"`.
pub(super) fn rate(item: &Item<'_>) -> Read<Rate> {
    const RATE: &str = "a rate such as \"200/s\", \"30/min\" or \"1000/h\"";
    let text = str_of(item, RATE)?;
    Rate::parse(text).map_err(|_| Complaint::new("is no rate").allowed(RATE))
}

/// [`size`], for limits that are kept as `usize`.
pub(super) fn size_in_memory(item: &Item<'_>) -> Read<usize> {
    usize::try_from(size(item)?).map_err(|_| Complaint::new("is larger than memory can be"))
}

pub(super) fn listener(item: &Item<'_>) -> Read<SocketAddr> {
    const ADDRESS: &str = "an IP address and a port, such as \"[::]:2222\" or \"127.0.0.1:9090\"";
    let text = str_of(item, ADDRESS)?;
    text.parse().map_err(|_| {
        let complaint = Complaint::new("is no address to listen on").allowed(ADDRESS);
        match text.strip_prefix('*').or(text.strip_prefix("localhost")) {
            Some(port) if port.starts_with(':') => {
                let address = if text.starts_with('*') { "[::]" } else { "127.0.0.1" };
                complaint.hint(format!("write \"{address}{port}\""))
            }
            _ => complaint,
        }
    })
}

pub(super) fn network(item: &Item<'_>) -> Read<Network> {
    let allowed = "a network such as \"203.0.113.0/24\" or \"2001:db8::/32\"";
    let text = str_of(item, allowed)?;
    text.parse().map_err(|_| Complaint::new("is no network").allowed(allowed))
}

/// A list, each of its values read by `read`; the first that cannot be read is reported.
pub(super) fn list<T>(read: impl Fn(&Item<'_>) -> Read<T>) -> impl Fn(&Item<'_>) -> Read<Vec<T>> {
    move |item| {
        let complaint = || Complaint::must_be("a list in square brackets");
        let items = item.get_ref().as_array().ok_or_else(complaint)?.iter();
        let at = |(index, item)| read(item).map_err(|complaint| complaint.at(index));
        items.enumerate().map(at).collect()
    }
}

/// One of a closed list of words.
pub(super) fn one_of<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Item<'_>) -> Read<T> {
    move |item| {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let allowed = match quoted.len() {
            1 => quoted[0].clone(),
            _ => format!("one of {}", quoted.join(", ")),
        };
        let text = str_of(item, &allowed)?;
        words.iter().find(|(name, _)| *name == text).map(|(_, word)| *word).ok_or_else(|| {
            let mut complaint = Complaint::must_be(allowed);
            complaint.hint = meant(text, &names).map(|near| format!("did you mean \"{near}\"?"));
            complaint
        })
    }
}

/// What stands between the cells of a line.
pub(super) fn delimiter(item: &Item<'_>) -> Read<u8> {
    let allowed = "one of \",\", \";\", \"\\t\" and \"|\"";
    match str_of(item, allowed)? {
        "," => Ok(b','),
        ";" => Ok(b';'),
        "\t" | "tab" => Ok(b'\t'),
        "|" => Ok(b'|'),
        _ => Err(Complaint::must_be(allowed)),
    }
}

/// The text of the item, or a complaint about its type.
pub(super) fn str_of<'i>(item: &'i Item<'_>, allowed: &str) -> Read<&'i str> {
    item.get_ref().as_str().ok_or_else(|| Complaint::must_be(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::Spanned;

    fn of(text: &str) -> Item<'_> {
        DeValue::parse(text).unwrap_or_else(|_| Spanned::new(0..0, DeValue::Boolean(false)))
    }

    #[test]
    fn times_are_numbers_with_units() {
        let rows = [
            (r#""2s""#, Some(2_000)),
            (r#""250ms""#, Some(250)),
            (r#""1h30m""#, Some(5_400_000)),
            (r#"" 7 d ""#, Some(7 * 86_400_000)),
            (r#""0s""#, Some(0)),
            (r#""""#, None),
            (r#""s""#, None),
            (r#""5""#, None),
            (r#""-5s""#, None),
            (r#""5 years""#, None),
            (r#""99999999999999999999s""#, None),
            (r#""999999999w""#, None),
            ("5", None),
        ];
        for (text, expected) in rows {
            let found = duration_or_zero(&of(text)).ok();
            assert_eq!(found, expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes_are_numbers_with_units() {
        let rows = [
            (r#""64KiB""#, Some(65_536)),
            (r#""2 gib""#, Some(2 << 30)),
            (r#""10MB""#, Some(10_000_000)),
            (r#""17B""#, Some(17)),
            (r#""0B""#, None),
            (r#""64""#, None),
            (r#""1.5GiB""#, None),
            (r#""99999999TiB""#, None),
            ("65536", None),
        ];
        for (text, expected) in rows {
            assert_eq!(size(&of(text)).ok(), expected, "{text}");
        }
    }

    #[test]
    fn bandwidths_are_sizes_a_second() {
        let rows = [
            (r#""10MiB/s""#, Some(10 << 20)),
            (r#""64 KiB /s""#, Some(64 << 10)),
            (r#""10MiB""#, None),
            (r#""0B/s""#, None),
            (r#""10/s""#, None),
        ];
        for (text, expected) in rows {
            assert_eq!(bandwidth(&of(text)).ok(), expected, "{text}");
        }
    }

    #[test]
    fn shares_are_percentages() {
        let rows = [
            (r#""5%""#, Some(0.05)),
            (r#""0%""#, Some(0.0)),
            (r#""100%""#, None),
            (r#""NaN%""#, None),
            (r#""5""#, None),
        ];
        for (text, expected) in rows {
            assert_eq!(percent(&of(text)).ok(), expected, "{text}");
        }
    }
}
