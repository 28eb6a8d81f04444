//! The closed lists of words that stand in files, configuration and logs.
//!
//! Each list knows its text both ways; the text is the contract (`interface.md` sections 1 to 6).

use std::fmt;

use super::Realm;

/// Gives a closed list of words its text, both ways, from one table.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every word of the list, in the contract's order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The word for this text, exactly as written.
            pub fn from_text(text: &str) -> Option<$name> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }

            /// A stable number for stored records: the position in the list, which only grows.
            pub const fn index(self) -> u8 {
                self as u8
            }

            pub fn from_index(index: u8) -> Option<$name> {
                $name::ALL.get(index as usize).copied()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What an intake file holds.
    Kind {
        Messages = "messages",
        Contacts = "contacts",
        Consents = "consents",
        Suppressions = "suppressions",
        Events = "events",
        Segments = "segments",
        Campaigns = "campaigns",
        Templates = "templates",
        Workflows = "workflows",
        PrivacyRequests = "privacy_requests",
        Control = "control",
    }
}

words! {
    /// The kind of delivery.
    ChannelKind {
        Email = "email",
        Sms = "sms",
        Whatsapp = "whatsapp",
        Telegram = "telegram",
        Viber = "viber",
        Push = "push",
        Webhook = "webhook",
    }
}

words! {
    /// Why a message is sent; decides which rules of policy apply.
    Category {
        Marketing = "marketing",
        Transactional = "transactional",
        Authentication = "authentication",
        Service = "service",
    }
}

impl Category {
    /// The category for a cell or key: `utility` is another name of `transactional`, any case.
    pub fn parse(text: &str) -> Option<Category> {
        let lower = text.to_ascii_lowercase();
        if lower == "utility" { Some(Category::Transactional) } else { Category::from_text(&lower) }
    }

    /// Of two categories the one with more rules on it.
    pub fn stricter(self, other: Category) -> Category {
        // The list runs from the strictest to the freest, but service is stricter than authentication.
        let rank = |c: Category| match c {
            Category::Marketing => 0,
            Category::Service => 1,
            Category::Transactional => 2,
            Category::Authentication => 3,
        };
        if rank(self) <= rank(other) { self } else { other }
    }
}

words! {
    /// The rule that made a file ready.
    Proof {
        Manifest = "manifest",
        Sentinel = "sentinel",
        Rename = "rename",
        Trailer = "trailer",
        Archive = "archive",
        Close = "close",
        Quiet = "quiet",
    }
}

impl Proof {
    /// Strong proof means the sender said the file is whole; `close` and `quiet` only suggest it.
    pub fn is_strong(self) -> bool {
        !matches!(self, Proof::Close | Proof::Quiet)
    }
}

words! {
    /// How the records of a file are written, by the ending of its name.
    #[derive(Default)]
    FileForm {
        #[default]
        Delimited = "csv",
        Workbook = "xlsx",
        Objects = "jsonl",
    }
}

words! {
    /// What the ACK says of a file.
    FileState {
        Accepted = "ACCEPTED",
        AcceptedWithErrors = "ACCEPTED_WITH_ERRORS",
        Rejected = "REJECTED",
        Held = "HELD",
        Duplicate = "DUPLICATE",
    }
}

words! {
    /// A numbered series of answers that belongs to no single file.
    Stream {
        Notices = "notices",
        /// The same about files that are only tried out.
        TestNotices = "test/notices",
        /// What became of rows after their result was written.
        Receipts = "receipts",
        TestReceipts = "test/receipts",
    }
}

impl Stream {
    pub fn notices(realm: Realm) -> Stream {
        match realm {
            Realm::Real => Stream::Notices,
            Realm::Test => Stream::TestNotices,
        }
    }

    pub fn receipts(realm: Realm) -> Stream {
        match realm {
            Realm::Real => Stream::Receipts,
            Realm::Test => Stream::TestReceipts,
        }
    }

    /// Whose outbox it stands in.
    pub fn realm(self) -> Realm {
        Realm::of_path(self.as_str())
    }

    /// How its files' names begin.
    pub fn name(self) -> &'static str {
        Realm::within(self.as_str())
    }
}

words! {
    /// The row's word in the result file.
    Status {
        Rejected = "rejected",
        Duplicate = "duplicate",
        Accepted = "accepted",
        Deferred = "deferred",
        Submitted = "submitted",
        Sent = "sent",
        Delivered = "delivered",
        Read = "read",
        Failed = "failed",
        Bounced = "bounced",
        Expired = "expired",
        Suppressed = "suppressed",
        Cancelled = "cancelled",
        Unknown = "unknown",
    }
}

words! {
    /// What somebody asks of a batch or a row, by control file, marker or command.
    ControlOp {
        Cancel = "cancel",
        Pause = "pause",
        Resume = "resume",
        Approve = "approve",
        Resend = "resend",
        ResendReport = "resend_report",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_keep_their_numbers() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_text(kind.as_str()), Some(*kind));
            assert_eq!(Kind::from_index(kind.index()), Some(*kind));
        }
        assert_eq!(Status::from_index(200), None);
        // Stored numbers must never move.
        assert_eq!((Status::Sent.index(), Status::Unknown.index()), (5, 13));
    }

    #[test]
    fn where_row_and_template_differ_the_stricter_category_holds() {
        assert_eq!(Category::Transactional.stricter(Category::Marketing), Category::Marketing);
        assert_eq!(Category::Service.stricter(Category::Authentication), Category::Service);
        assert_eq!(Category::parse("Utility"), Some(Category::Transactional));
    }
}
