//! Patterns of file names, which may hold the place of a sequence number.

use globset::{GlobBuilder, GlobMatcher};

/// Where a pattern says that a number stands.
const NUMBER: &str = "{seq}";

/// A glob over whole names; `{seq}` in it stands for the digits of the file's number.
#[derive(Debug, Clone)]
pub struct NamePattern {
    /// As the operator wrote it.
    text: String,
    /// The whole pattern, or what stands before the number.
    before: GlobMatcher,
    /// What stands behind the number, where the pattern has one.
    behind: Option<GlobMatcher>,
}

impl NamePattern {
    pub fn new(text: &str) -> Result<NamePattern, globset::Error> {
        let glob = |text: &str| {
            let glob =
                GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build()?;
            Ok(glob.compile_matcher())
        };
        let (before, behind) = match text.split_once(NUMBER) {
            Some((before, behind)) => (glob(before)?, Some(glob(behind)?)),
            None => (glob(text)?, None),
        };
        Ok(NamePattern { text: text.to_owned(), before, behind })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_match(&self, name: &str) -> bool {
        match self.behind {
            Some(_) => self.number(name).is_some(),
            None => self.before.is_match(name),
        }
    }

    /// The number in a name that matches a pattern with `{seq}`: the first run of digits at which the
    /// rest of the name fits.
    pub fn number(&self, name: &str) -> Option<u64> {
        let behind = self.behind.as_ref()?;
        let mut from = 0;
        while let Some(at) = name[from..].find(|c: char| c.is_ascii_digit()) {
            let start = from + at;
            let other = name[start..].find(|c: char| !c.is_ascii_digit());
            let end = other.map_or(name.len(), |digits| start + digits);
            if self.before.is_match(&name[..start])
                && behind.is_match(&name[end..])
                && let Ok(number) = name[start..end].parse()
            {
                return Some(number);
            }
            from = end;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_where_the_pattern_says() {
        for (pattern, name, number) in [
            ("INV_{seq}.csv", "INV_0042.csv", Some(42)),
            ("INV_{seq}.csv", "INV_.csv", None),
            ("INV_{seq}.csv", "INV_4a.csv", None),
            ("INV_*_{seq}.csv", "INV_20261123_7.csv", Some(7)),
            ("{seq}_*.csv", "9_ümlaut_3.csv", Some(9)),
            ("ü{seq}é*", "ü5é6", Some(5)),
            ("{seq}", "18446744073709551616", None),
            ("INV_*.csv", "INV_7.csv", None),
        ] {
            let matcher = NamePattern::new(pattern).unwrap();
            assert_eq!(matcher.number(name), number, "{pattern} {name}");
        }
        assert!(NamePattern::new("INV_*.csv").unwrap().is_match("INV_7.csv"));
        assert!(NamePattern::new("INV_{seq}.csv").unwrap().is_match("INV_7.csv"));
        assert!(!NamePattern::new("INV_{seq}.csv").unwrap().is_match("INV_x.csv"));
        assert!(NamePattern::new("[{seq}").is_err());
    }
}
