//! Code pages that the web never had: DOS and EBCDIC, as tables.
//!
//! Written out of the Unicode Consortium's mapping tables: VENDORS/MICSFT/PC (CP437, CP850, CP852),
//! VENDORS/MICSFT/EBCDIC (CP500); CP273 as IBM registered it. Each has a character for every byte.

/// A code page of single bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct CodePage {
    pub(super) name: &'static str,
    /// The lower characters, and those above them.
    chars: (&'static str, &'static str),
}

const DOS_LINE_FEED: u8 = b'\n';
/// How mainframes end a line; what comes from other systems ends it with LF.
const EBCDIC_NEW_LINE: u8 = 0x15;
const EBCDIC_LINE_FEED: u8 = 0x25;

/// Every one there is, by the name the configuration gives it.
pub(super) static ALL: [CodePage; 5] = [CP437, CP850, CP852, CP273, CP500];

impl CodePage {
    /// True where letters and delimiters are not where ASCII has them.
    pub(super) fn is_ebcdic(&self) -> bool {
        self.chars.0 == EBCDIC_CONTROLS
    }

    /// The character of each byte. Both line ends of EBCDIC are a line feed.
    pub(super) fn table(&self) -> [char; 256] {
        let mut table = ['\0'; 256];
        let chars = self.chars.0.chars().chain(self.chars.1.chars());
        table.iter_mut().zip(chars).for_each(|(entry, char)| *entry = char);
        for end in self.line_ends() {
            table[usize::from(*end)] = '\n';
        }
        table
    }

    /// The bytes that end a line.
    pub(super) fn line_ends(&self) -> &'static [u8] {
        if self.is_ebcdic() { &[EBCDIC_NEW_LINE, EBCDIC_LINE_FEED] } else { &[DOS_LINE_FEED] }
    }
}

const ASCII: &str = "\
     \u{0}\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\u{9}\u{a}\u{b}\u{c}\u{d}\u{e}\u{f}\
     \u{10}\u{11}\u{12}\u{13}\u{14}\u{15}\u{16}\u{17}\
     \u{18}\u{19}\u{1a}\u{1b}\u{1c}\u{1d}\u{1e}\u{1f}\
     \u{20}!\"#$%&'()*+,-./\
     0123456789:;<=>?\
     @ABCDEFGHIJKLMNO\
     PQRSTUVWXYZ[\\]^_\
     `abcdefghijklmno\
     pqrstuvwxyz{|}~\u{7f}";

const EBCDIC_CONTROLS: &str = "\
     \u{0}\u{1}\u{2}\u{3}\u{9c}\u{9}\u{86}\u{7f}\u{97}\u{8d}\u{8e}\u{b}\u{c}\u{d}\u{e}\u{f}\
     \u{10}\u{11}\u{12}\u{13}\u{9d}\u{85}\u{8}\u{87}\
     \u{18}\u{19}\u{92}\u{8f}\u{1c}\u{1d}\u{1e}\u{1f}\
     \u{80}\u{81}\u{82}\u{83}\u{84}\u{a}\u{17}\u{1b}\
     \u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{5}\u{6}\u{7}\
     \u{90}\u{91}\u{16}\u{93}\u{94}\u{95}\u{96}\u{4}\
     \u{98}\u{99}\u{9a}\u{9b}\u{14}\u{15}\u{9e}\u{1a}";

const CP437: CodePage = CodePage {
    name: "cp437",
    chars: (
        ASCII,
        "\
     ÇüéâäàåçêëèïîìÄÅ\
     ÉæÆôöòûùÿÖÜ¢£¥₧ƒ\
     áíóúñÑªº¿⌐¬½¼¡«»\
     ░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
     └┴┬├─┼╞╟╚╔╩╦╠═╬╧\
     ╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
     αßΓπΣσµτΦΘΩδ∞φε∩\
     ≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
    ),
};

const CP850: CodePage = CodePage {
    name: "cp850",
    chars: (
        ASCII,
        "\
     ÇüéâäàåçêëèïîìÄÅ\
     ÉæÆôöòûùÿÖÜø£Ø×ƒ\
     áíóúñÑªº¿®¬½¼¡«»\
     ░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐\
     └┴┬├─┼ãÃ╚╔╩╦╠═╬¤\
     ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀\
     ÓßÔÒõÕµþÞÚÛÙýÝ¯´\
     \u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}",
    ),
};

const CP852: CodePage = CodePage {
    name: "cp852",
    chars: (
        ASCII,
        "\
     ÇüéâäůćçłëŐőîŹÄĆ\
     ÉĹĺôöĽľŚśÖÜŤťŁ×č\
     áíóúĄąŽžĘę¬źČş«»\
     ░▒▓│┤ÁÂĚŞ╣║╗╝Żż┐\
     └┴┬├─┼Ăă╚╔╩╦╠═╬¤\
     đĐĎËďŇÍÎě┘┌█▄ŢŮ▀\
     ÓßÔŃńňŠšŔÚŕŰýÝţ´\
     \u{ad}˝˛ˇ˘§÷¸°¨˙űŘř■\u{a0}",
    ),
};

const CP273: CodePage = CodePage {
    name: "cp273",
    chars: (
        EBCDIC_CONTROLS,
        "\
     \u{20}\u{a0}â{àáãåçñÄ.<(+!\
     &éêëèíîïì~Ü$*);^\
     -/Â[ÀÁÃÅÇÑö,%_>?\
     øÉÊËÈÍÎÏÌ`:#§'=\"\
     Øabcdefghi«»ðýþ±\
     °jklmnopqrªºæ¸Æ¤\
     µßstuvwxyz¡¿ÐÝÞ®\
     ¢£¥·©@¶¼½¾¬|‾¨´×\
     äABCDEFGHI\u{ad}ô¦òóõ\
     üJKLMNOPQR¹û}ùúÿ\
     Ö÷STUVWXYZ²Ô\\ÒÓÕ\
     0123456789³Û]ÙÚ\u{9f}",
    ),
};

const CP500: CodePage = CodePage {
    name: "cp500",
    chars: (
        EBCDIC_CONTROLS,
        "\
     \u{20}\u{a0}âäàáãåçñ[.<(+!\
     &éêëèíîïìß]$*);^\
     -/ÂÄÀÁÃÅÇÑ¦,%_>?\
     øÉÊËÈÍÎÏÌ`:#@'=\"\
     Øabcdefghi«»ðýþ±\
     °jklmnopqrªºæ¸Æ¤\
     µ~stuvwxyz¡¿ÐÝÞ®\
     ¢£¥·©§¶¼½¾¬|¯¨´×\
     {ABCDEFGHI\u{ad}ôöòóõ\
     }JKLMNOPQR¹ûüùúÿ\
     \\÷STUVWXYZ²ÔÖÒÓÕ\
     0123456789³ÛÜÙÚ\u{9f}",
    ),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_of_its_own() {
        for page in &ALL {
            let lengths = (page.chars.0.chars().count(), page.chars.1.chars().count());
            assert_eq!(lengths.0 + lengths.1, 256, "{}", page.name);
            let mut chars = page.table().to_vec();
            chars.sort_unstable();
            chars.dedup();
            // Two bytes of EBCDIC end a line.
            assert_eq!(chars.len(), 257 - page.line_ends().len(), "{}", page.name);
        }
    }

    /// As `iconv` and mainframes have them.
    #[test]
    fn well_known_characters_stand_where_they_should() {
        for (name, byte, char) in [
            ("cp437", 0x81, 'ü'),
            ("cp437", 0xE1, 'ß'),
            ("cp850", 0x9B, 'ø'),
            ("cp850", 0xF5, '§'),
            ("cp852", 0x88, 'ł'),
            ("cp852", 0xE7, 'š'),
            ("cp273", 0xC1, 'A'),
            ("cp273", 0xC0, 'ä'),
            ("cp273", 0xA1, 'ß'),
            ("cp273", 0xB5, '@'),
            ("cp500", 0x7C, '@'),
            ("cp500", 0x6B, ','),
            ("cp500", 0x15, '\n'),
            ("cp500", 0x25, '\n'),
        ] {
            let page = ALL.iter().find(|page| page.name == name).unwrap();
            assert_eq!(page.table()[byte], char, "{name} {byte:#x}");
        }
    }
}
