//! How many parts an SMS is sent as, which is what providers count and bill, and what is made plain in it.
//!
//! A text whose letters all stand in a 7-bit alphabet takes 160 septets in one part, any other 70 units of
//! UTF-16 (3GPP 23.038 and 23.040). Several parts each lose room to a header, and so does a national alphabet.

use std::sync::LazyLock;

/// Letters by language and table; see `alphabets.py`.
const TABLES: &str = include_str!("alphabets.tab");
/// The language of the alphabet that needs no header.
const DEFAULT: &str = "default";
/// UTF-16 units of one part, and of each of several.
const UNITS: (usize, usize) = (70, 67);
/// Septets of one part, and of each of several: by how many tables the header has to name.
const SEPTETS: [(usize, usize); 3] = [(160, 153), (155, 149), (152, 146)];

static ALPHABETS: LazyLock<Vec<Alphabet>> = LazyLock::new(alphabets);

/// What a tenant wants of its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsRules {
    /// Typographic characters are written plainly where the text then fits a 7-bit alphabet.
    pub plain: bool,
    /// Languages whose national tables the tenant's providers use.
    pub languages: Vec<SmsLanguage>,
    /// A text of more parts is refused.
    pub parts_max: u32,
}

impl Default for SmsRules {
    fn default() -> SmsRules {
        SmsRules { plain: false, languages: Vec::new(), parts_max: 10 }
    }
}

impl SmsRules {
    /// The parts of a text; at least one.
    pub fn parts(&self, text: &str) -> u32 {
        let parts = |alphabet: &Alphabet| alphabet.parts(text);
        if let Some(parts) = ALPHABETS.first().and_then(parts) {
            return parts;
        }
        let fewest = self.alphabets().filter_map(parts).min();
        fewest.unwrap_or_else(|| fill(text.chars().map(char::len_utf16), UNITS))
    }

    /// The text as it goes out.
    pub fn finish(&self, text: &mut String) {
        if !self.plain || text.is_ascii() {
            return;
        }
        let mut plain = String::with_capacity(text.len());
        for letter in text.chars() {
            match plainly(letter) {
                Some(instead) => plain.push_str(instead),
                None => plain.push(letter),
            }
        }
        let fits = |alphabet: &Alphabet| plain.chars().all(|c| alphabet.width(c).is_some());
        if ALPHABETS.first().is_some_and(fits) || self.alphabets().any(fits) {
            *text = plain;
        }
    }

    fn alphabets(&self) -> impl Iterator<Item = &'static Alphabet> {
        ALPHABETS.iter().filter(|alphabet| {
            self.languages.iter().any(|language| language.0 == alphabet.language)
        })
    }
}

/// A language that has tables of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmsLanguage(&'static str);

impl SmsLanguage {
    /// By its two letters (ISO 639-1).
    pub fn parse(code: &str) -> Option<SmsLanguage> {
        SmsLanguage::codes().find(|known| *known == code).map(SmsLanguage)
    }

    /// All that there are, in the order of their numbers.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        let mut last = DEFAULT;
        ALPHABETS
            .iter()
            .map(|alphabet| alphabet.language)
            .filter(move |language| std::mem::replace(&mut last, language) != *language)
    }
}

/// The letters that a text may have, each with its septets, and the room that is left to them.
#[derive(Debug)]
struct Alphabet {
    language: &'static str,
    /// Septets by letter below 128; 0 where it has none.
    ascii: [u8; 128],
    /// First and last letter and their septets, in order.
    others: Vec<(char, char, u8)>,
    room: (usize, usize),
}

impl Alphabet {
    fn width(&self, letter: char) -> Option<usize> {
        if let Some(width) = self.ascii.get(letter as usize) {
            return (*width > 0).then_some(usize::from(*width));
        }
        let at = self.others.partition_point(|(_, last, _)| *last < letter);
        let (first, _, width) = self.others.get(at)?;
        (*first <= letter).then_some(usize::from(*width))
    }

    /// `None` where it lacks a letter of the text.
    fn parts(&self, text: &str) -> Option<u32> {
        let mut septets = 0;
        for letter in text.chars() {
            septets += self.width(letter)?;
        }
        match septets <= self.room.0 {
            true => Some(1),
            false => Some(fill(text.chars().filter_map(|c| self.width(c)), self.room)),
        }
    }
}

/// No letter is split over two parts.
fn fill(widths: impl Iterator<Item = usize> + Clone, (single, each): (usize, usize)) -> u32 {
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

/// The default alphabet, then of each language: its shift table behind the default alphabet, its locking
/// table with the default's shift, and both of its own.
fn alphabets() -> Vec<Alphabet> {
    let of = |language: &str, table: &str| {
        let begin = format!("{language} {table} ");
        TABLES.lines().find_map(|line| line.strip_prefix(&begin))
    };
    let mut languages: Vec<&str> = Vec::new();
    for line in TABLES.lines().filter(|line| !line.starts_with('#')) {
        let language = line.split(' ').next().unwrap_or_default();
        if !languages.contains(&language) {
            languages.push(language);
        }
    }
    let mut all = Vec::new();
    for language in languages {
        let pairs = match language {
            DEFAULT => vec![(DEFAULT, DEFAULT)],
            _ => vec![(DEFAULT, language), (language, DEFAULT), (language, language)],
        };
        for (locking, shift) in pairs {
            let named = usize::from(locking != DEFAULT) + usize::from(shift != DEFAULT);
            if let (Some(locking), Some(shift)) = (of(locking, "locking"), of(shift, "shift")) {
                all.push(alphabet(language, (locking, shift), SEPTETS[named]));
            }
        }
    }
    all
}

/// A letter of both tables costs what the first one asks.
fn alphabet(
    language: &'static str,
    (locking, shift): (&str, &str),
    room: (usize, usize),
) -> Alphabet {
    let mut alphabet = Alphabet { language, ascii: [0; 128], others: Vec::new(), room };
    for (table, width) in [(shift, 2), (locking, 1)] {
        for letter in table.split(' ').flat_map(letters) {
            match alphabet.ascii.get_mut(letter as usize) {
                Some(ascii) => *ascii = width,
                None => {
                    alphabet.others.retain(|(first, ..)| *first != letter);
                    alphabet.others.push((letter, letter, width));
                }
            }
        }
    }
    alphabet.others.sort_unstable();
    alphabet
}

/// `0041-005a` or `00e9`.
fn letters(range: &str) -> impl Iterator<Item = char> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let letter = |hex| u32::from_str_radix(hex, 16).ok();
    let (first, last) = (letter(first).unwrap_or(1), letter(last).unwrap_or(0));
    (first..=last).filter_map(char::from_u32)
}

/// How a typographic character is written with the letters of a keyboard; letters of a language never are.
fn plainly(letter: char) -> Option<&'static str> {
    Some(match letter {
        '‘' | '’' | '‚' | '‛' | '′' | '`' | '´' | '‹' | '›' => "'",
        '“' | '”' | '„' | '‟' | '″' | '«' | '»' => "\"",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "-",
        '…' => "...",
        '\t' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => " ",
        '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' => "",
        '•' => "*",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(languages: &[&str]) -> SmsRules {
        let languages = languages.iter().map(|code| SmsLanguage::parse(code).unwrap()).collect();
        SmsRules { languages, plain: true, ..SmsRules::default() }
    }

    /// `a*152 €*1` is 152 letters and one more.
    fn text(runs: &str) -> String {
        runs.split(' ')
            .map(|run| {
                let (letter, count) = run.rsplit_once('*').unwrap();
                let letter = u32::from_str_radix(letter, 16).ok().and_then(char::from_u32).unwrap();
                letter.to_string().repeat(count.parse().unwrap())
            })
            .collect()
    }

    /// Ten thousand texts; see the head of the file.
    #[test]
    fn parts_are_counted_as_others_count_them() {
        let table = include_str!("../../fixtures/sms/parts.tsv");
        let mut seen = 0;
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let [language, expected, runs] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let rules = if language.is_empty() { rules(&[]) } else { rules(&[language]) };
            assert_eq!(rules.parts(&text(runs)).to_string(), expected, "{line}");
            seen += 1;
        }
        assert_eq!(seen, 10_000);
    }

    #[test]
    fn no_letter_is_split_over_two_parts() {
        let split = format!("{}€{}", "a".repeat(152), "a".repeat(152));
        assert_eq!(rules(&[]).parts(&split), 3);
        assert_eq!(rules(&[]).parts(""), 1);
    }

    #[test]
    fn typography_is_plain_only_where_that_saves_parts() {
        for (given, expected) in [
            ("It’s 100 % – “new”…", "It's 100 % - \"new\"..."),
            ("a\u{a0}b\tc\u{200b}d ﬁne", "a b cd fine"),
            ("Grüße – ça", "Grüße – ça"),
            ("“Привет”", "“Привет”"),
            ("wait… 😀", "wait… 😀"),
            ("plain", "plain"),
        ] {
            let mut text = given.to_owned();
            rules(&[]).finish(&mut text);
            assert_eq!(text, expected);
            let mut text = given.to_owned();
            SmsRules::default().finish(&mut text);
            assert_eq!(text, given, "off by default");
        }
        let mut text = "ılık – şey".to_owned();
        rules(&["tr"]).finish(&mut text);
        assert_eq!(text, "ılık - şey");
    }

    #[test]
    fn languages_are_known_by_their_letters() {
        assert_eq!(SmsLanguage::codes().count(), 13);
        assert!(SmsLanguage::parse("tr").is_some());
        assert_eq!(SmsLanguage::parse("default"), None);
        assert_eq!(SmsLanguage::parse("de"), None);
    }
}
