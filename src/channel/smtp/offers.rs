//! What a server offers in its answer to EHLO.

/// The extensions that we make use of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) pipelining: bool,
    pub(super) start_tls: bool,
    pub(super) eight_bit: bool,
    pub(super) smtp_utf8: bool,
    pub(super) auth_plain: bool,
    pub(super) auth_login: bool,
    pub(super) auth_xoauth2: bool,
}

impl Offers {
    /// Reads the text of the answer. Its first line begins with the server's name, which is no keyword.
    pub(super) fn parse(text: &str) -> Offers {
        let mut offers = Offers::default();
        for line in text.lines() {
            // Old servers write `AUTH=PLAIN`.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            let keyword = words.next().unwrap_or_default();
            let is = |name: &str| keyword.eq_ignore_ascii_case(name);
            offers.pipelining |= is("PIPELINING");
            offers.start_tls |= is("STARTTLS");
            offers.eight_bit |= is("8BITMIME");
            offers.smtp_utf8 |= is("SMTPUTF8");
            if is("AUTH") {
                for mechanism in words {
                    offers.auth_plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                    offers.auth_login |= mechanism.eq_ignore_ascii_case("LOGIN");
                    offers.auth_xoauth2 |= mechanism.eq_ignore_ascii_case("XOAUTH2");
                }
            }
        }
        offers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_recognised_however_they_are_written() {
        let none = Offers::default();
        for (text, want) in [
            ("mail.example PIPELINING", none),
            ("hi\nPIPELINING", Offers { pipelining: true, ..none }),
            ("hi\nPipelining \nSIZE 1000", Offers { pipelining: true, ..none }),
            ("hi\nXPIPELINING\nPIPELININGX", none),
            ("hi\nSTARTTLS\n8BITMIME", Offers { start_tls: true, eight_bit: true, ..none }),
            ("hi\nSMTPUTF8", Offers { smtp_utf8: true, ..none }),
            ("hi\nAUTH PLAIN login", Offers { auth_plain: true, auth_login: true, ..none }),
            (
                "hi\nAUTH=LOGIN\nAUTH XOAUTH2",
                Offers { auth_login: true, auth_xoauth2: true, ..none },
            ),
            ("", none),
        ] {
            assert_eq!(Offers::parse(text), want, "{text:?}");
        }
    }
}
