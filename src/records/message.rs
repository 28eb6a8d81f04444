//! A checked message row, and what the tenant brings to the check.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::model::{Category, ChannelKind, MaxAge};

use super::template::TemplateNeeds;

/// What the tenant brings to the check of a row.
#[derive(Debug, Clone)]
pub struct TenantContext {
    /// Two letters; the country of numbers without country code.
    pub default_country: Option<String>,
    pub timezone: TimeZone,
    /// Channels that have a provider.
    pub channels: Vec<ChannelKind>,
    pub default_category: Option<Category>,
    pub templates: Vec<TemplateNeeds>,
    /// How late a message may be that says no end of its own.
    pub max_age: MaxAge,
    /// The moment the file was taken.
    pub now: Timestamp,
}

/// Another channel that a row goes out on, where those before it did not reach the recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FurtherStep {
    pub channel: ChannelKind,
    /// As in the row.
    pub receipt_within_s: u32,
    pub to: String,
    pub to_given: String,
    pub template_at: Option<usize>,
    pub category: Category,
}

/// One checked message, reused for all rows. Empty text means not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    pub row: u64,
    pub line: u64,
    pub row_id: String,
    pub channel: ChannelKind,
    /// Normalised: E.164, or an email address with its domain in lower case.
    pub to: String,
    /// As the file has it.
    pub to_given: String,
    pub template: String,
    /// Position in `TenantContext::templates` of the template that fits channel and language.
    pub template_at: Option<usize>,
    pub text: String,
    pub html: String,
    pub lang: String,
    pub subject: String,
    pub sender: String,
    pub reply_to: String,
    /// The stricter of the row's and the template's, else the tenant's, else marketing.
    pub category: Category,
    pub send_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    /// The zone the row names, or the place of its recipient where local times are read there; else empty.
    pub tz: String,
    /// Minutes of the day, from and to.
    pub window: Option<(u16, u16)>,
    /// Two capital letters; empty if the row names none.
    pub country: String,
    pub campaign: String,
    /// From 1, the first to go out, to 9.
    pub priority: u8,
    /// Seconds within which a receipt must come, else the next step begins; 0 where none is waited for.
    pub receipt_within_s: u32,
    /// The steps of the row's chain behind the first, which is the row itself.
    pub further: Vec<FurtherStep>,
}

/// The priority of a row that says none.
pub(super) const PRIORITY_USUAL: u8 = 5;

impl Default for MessageRow {
    fn default() -> MessageRow {
        MessageRow {
            row: 0,
            line: 0,
            row_id: String::new(),
            channel: ChannelKind::Email,
            to: String::new(),
            to_given: String::new(),
            template: String::new(),
            template_at: None,
            text: String::new(),
            html: String::new(),
            lang: String::new(),
            subject: String::new(),
            sender: String::new(),
            reply_to: String::new(),
            category: Category::Marketing,
            send_at: None,
            expires_at: None,
            tz: String::new(),
            window: None,
            country: String::new(),
            campaign: String::new(),
            priority: PRIORITY_USUAL,
            receipt_within_s: 0,
            further: Vec::new(),
        }
    }
}

impl MessageRow {
    /// Empties the row and keeps its memory.
    pub(super) fn clear(&mut self) {
        let texts = [
            &mut self.row_id,
            &mut self.to,
            &mut self.to_given,
            &mut self.template,
            &mut self.text,
            &mut self.html,
            &mut self.lang,
            &mut self.subject,
            &mut self.sender,
            &mut self.reply_to,
            &mut self.tz,
            &mut self.country,
            &mut self.campaign,
        ];
        texts.into_iter().for_each(String::clear);
        self.template_at = None;
        self.send_at = None;
        self.expires_at = None;
        self.window = None;
        self.priority = PRIORITY_USUAL;
        self.receipt_within_s = 0;
        self.further.clear();
    }
}
