//! The reason codes that partners see: one table.
//!
//! A code exists only if a partner would act differently on it. Codes are never renamed and never
//! reused; the documentation's table is generated from [`ReasonCode::ALL`]. Knows no other room.

use std::fmt;

/// How bad it is: errors stop a row or a file, warnings and infos do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
    Info,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// Writes the table once and derives the enum, the list and the three texts from it. New codes are
/// added at the end: a code's position is its number in stored records.
macro_rules! reason_codes {
    ($($variant:ident $text:literal $severity:ident $meaning:literal $advice:literal;)+) => {
        /// A stable reason, as it stands in the `code` column.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum ReasonCode { $($variant,)+ }

        impl ReasonCode {
            /// Every code, in the contract's order.
            pub const ALL: &'static [ReasonCode] = &[$(ReasonCode::$variant,)+];

            /// The code itself: `row.phone_invalid`.
            pub const fn as_str(self) -> &'static str {
                match self { $(ReasonCode::$variant => $text,)+ }
            }

            pub const fn severity(self) -> Severity {
                match self { $(ReasonCode::$variant => Severity::$severity,)+ }
            }

            /// What happened, as a sentence fragment.
            pub const fn meaning(self) -> &'static str {
                match self { $(ReasonCode::$variant => $meaning,)+ }
            }

            /// What the partner can do about it.
            pub const fn advice(self) -> &'static str {
                match self { $(ReasonCode::$variant => $advice,)+ }
            }

            /// The code for this text, exactly as written.
            pub fn from_text(text: &str) -> Option<ReasonCode> {
                match text { $($text => Some(ReasonCode::$variant),)+ _ => None }
            }
        }
    };
}

reason_codes! {
    FileEmpty "file.empty" Error
        "the file has no bytes, or only blank lines and directives"
        "send a file with a header and data rows";
    FileIncomplete "file.incomplete" Error
        "the upload was cut before its end, or the file changed while it was read"
        "upload the whole file again under the same name";
    FileNameInvalid "file.name_invalid" Error
        "the file name is not valid UTF-8, is too long, or holds control characters"
        "use at most 200 bytes of UTF-8 without control characters";
    FileKindUnknown "file.kind_unknown" Error
        "neither folder, name nor profile says what kind of file this is"
        "drop it into a folder named after its kind, name it <kind>_<ref>.csv, or ask the operator for a profile";
    FileKindConflict "file.kind_conflict" Error
        "folder, name, directive or profile name different kinds"
        "move the file to the folder of its kind, or rename it";
    FileTooLarge "file.too_large" Error
        "the file has more bytes than the limit"
        "split the file; /spec/limits.csv says how large one may be";
    FileTooManyRows "file.too_many_rows" Error
        "the file has more data rows than the limit"
        "split the file; /spec/limits.csv says how many rows one may have";
    FileChecksumMismatch "file.checksum_mismatch" Error
        "the digest does not match the bytes received"
        "upload the file again";
    FileRowsMismatch "file.rows_mismatch" Error
        "the number of rows announced is not the number found"
        "check that the export ran to its end, then upload again";
    FileNameReused "file.name_reused" Error
        "a file of this name was taken before and the profile forbids reuse"
        "give each file its own name";
    FileDuplicate "file.duplicate" Error
        "a file with the same records was accepted before"
        "nothing was sent; add the directive #allow_duplicate=yes to send it again";
    FileSequenceGap "file.sequence_gap" Error
        "a sequence number is missing before this file"
        "send the missing file first";
    FileSequenceReused "file.sequence_reused" Error
        "the sequence number was used before"
        "use the next number, given as next_seq in the last ACK";
    FileDecryptFailed "file.decrypt_failed" Error
        "the file could not be decrypted"
        "encrypt it for the operator's current key";
    FileSignatureInvalid "file.signature_invalid" Error
        "the file's signature is missing or wrong"
        "sign the file with the key agreed with the operator";
    FileArchiveInvalid "file.archive_invalid" Error
        "the compressed file is damaged or holds more than one member"
        "compress one file again and upload it";
    FileEncodingInvalid "file.encoding_invalid" Error
        "the bytes do not fit the declared encoding"
        "save the file as UTF-8, or name its encoding above the header: #encoding=windows-1252";
    FileEncodingSuspect "file.encoding_suspect" Warning
        "the declared encoding looks wrong: the text would be valid UTF-8"
        "check names with accents in the result; declare UTF-8 if that is what you send";
    FileQuoteUnterminated "file.quote_unterminated" Error
        "a quote is opened and never closed"
        "close the quote, or double a quote that belongs to the text";
    FileNotText "file.not_text" Error
        "the file holds NUL bytes or is no text file"
        "send CSV as text, .xlsx or .jsonl";
    FileTenantSuspended "file.tenant_suspended" Error
        "the tenant is suspended"
        "ask the operator";
    FileKindNotAllowed "file.kind_not_allowed" Error
        "this account or version does not take files of this kind"
        "ask the operator which kinds are allowed";
    FileQuotaExceeded "file.quota_exceeded" Error
        "the tenant's space is used up"
        "collect and delete answers, or ask the operator";
    FileTooManyBadRows "file.too_many_bad_rows" Error
        "more rows are bad than the threshold allows, or all are"
        "correct the rows named in the errors file and send the file again";
    FileShrinkGuard "file.shrink_guard" Error
        "the file is far smaller than this profile's usual"
        "approve it, or send the whole file";
    FileSpikeGuard "file.spike_guard" Error
        "the file is far larger than this profile's usual"
        "approve it if it is meant";
    FileManifestInvalid "file.manifest_invalid" Error
        "the manifest is not valid JSON or holds unknown keys"
        "write {\"file\": \"<name>\"}, and where wanted bytes, sha256, rows, seq, directives";
    FilePairMissing "file.pair_missing" Error
        "the file's partner (data or marker) did not arrive in time"
        "upload both";
    FileApprovalNeeded "file.approval_needed" Error
        "the file waits for approval, or got none in time"
        "drop an empty <name>.approve, if the account may, or ask the operator";
    FileInternal "file.internal" Error
        "the file could not be processed because of a fault on our side"
        "send it again; tell the operator if it happens twice";
    HeaderMissing "header.missing" Error
        "the file has no header line"
        "write the column names in the first line";
    HeaderColumnMissing "header.column_missing" Error
        "a required column is missing"
        "add the column";
    HeaderColumnTwice "header.column_twice" Error
        "a column stands in the header twice"
        "keep one of the two columns";
    HeaderColumnUnknown "header.column_unknown" Warning
        "the column is not known; it can be used as a template variable"
        "check the spelling if it was meant as a standard column";
    HeaderTooManyColumns "header.too_many_columns" Error
        "the header has more columns than the limit"
        "remove columns; /spec/limits.csv says how many there may be";
    HeaderDelimiterUnknown "header.delimiter_unknown" Error
        "the delimiter cannot be told from the header"
        "use comma, semicolon, tab or bar, or have it declared";
    HeaderDirectiveInvalid "header.directive_invalid" Error
        "a directive line is not known or its value is not allowed"
        "correct the directive";
    HeaderDirectiveConflict "header.directive_conflict" Error
        "two directives, or directive and manifest, disagree"
        "keep one of them";
    HeaderTemplateUnknown "header.template_unknown" Error
        "the template named for the whole file does not exist"
        "use a template of /spec/templates.csv";
    HeaderVariableWithoutColumn "header.variable_without_column" Error
        "the template needs a variable that no column gives"
        "add the column var_<name>";
    HeaderLooksLikeData "header.looks_like_data" Error
        "the first line looks like data, not like column names"
        "write the column names in the first line";
    HeaderOptoutMissing "header.optout_missing" Warning
        "a marketing file has no way to opt out"
        "add an opt-out line to the template";
    RowFieldCount "row.field_count" Error
        "the row has more or fewer fields than the header"
        "check delimiters and quotes in this row";
    RowRecordTooLong "row.record_too_long" Error
        "the row is longer than the limit"
        "shorten the row";
    RowCut "row.cut" Error
        "the last row has no line end and may be cut"
        "end the last line, or send the file again";
    RowValueMissing "row.value_missing" Error
        "a required cell is empty"
        "fill the cell";
    RowValueTooLong "row.value_too_long" Error
        "a cell is longer than the limit"
        "shorten the text";
    RowValueNotAllowed "row.value_not_allowed" Error
        "the value is not one of those allowed here"
        "use an allowed value";
    RowNumberInvalid "row.number_invalid" Error
        "the cell is not a number"
        "write digits only";
    RowTimeInvalid "row.time_invalid" Error
        "the time is not readable"
        "write 2026-11-22T10:00:00Z or 2026-11-22 10:00";
    RowZoneUnknown "row.zone_unknown" Error
        "the time zone is not known"
        "use an IANA name such as Europe/Berlin";
    RowLangUnknown "row.lang_unknown" Error
        "the language tag is not readable"
        "use a tag such as en or pt-BR";
    RowCountryUnknown "row.country_unknown" Error
        "the country is not known"
        "use two letters such as DE";
    RowControlCharacter "row.control_character" Error
        "the cell holds a control character"
        "remove the character";
    RowCellDamaged "row.cell_damaged" Error
        "a spreadsheet program damaged the cell"
        "format the column as text and export again";
    RowAddressMissing "row.address_missing" Error
        "the row has no address"
        "fill email, phone or another address column";
    RowAddressConflict "row.address_conflict" Error
        "the row's addresses leave more than one choice of channel"
        "name the channel";
    RowEmailInvalid "row.email_invalid" Error
        "the email address is not valid"
        "correct the address";
    RowPhoneInvalid "row.phone_invalid" Error
        "the phone number is not valid"
        "write the number with country code, such as +4915112345678";
    RowPhoneNeedsCountry "row.phone_needs_country" Error
        "the phone number has no country code and no country is known"
        "write it with +, or fill the country column";
    RowPhoneDamaged "row.phone_damaged" Error
        "a spreadsheet program damaged the phone number"
        "format the column as text and export again";
    RowAddressUnfitForChannel "row.address_unfit_for_channel" Error
        "the address cannot be used on this channel"
        "give an address for the channel";
    RowChannelUnavailable "row.channel_unavailable" Error
        "the tenant has no provider for this channel"
        "use another channel or ask the operator";
    RowTemplateUnknown "row.template_unknown" Error
        "the template does not exist for this channel"
        "use a template of /spec/templates.csv";
    RowVariableMissing "row.variable_missing" Error
        "a variable of the template has no value in this row"
        "fill the column";
    RowBodyEmpty "row.body_empty" Error
        "the row has neither template nor text"
        "fill template, text or html";
    RowBodyTooLong "row.body_too_long" Error
        "the rendered message is longer than the channel allows"
        "shorten the text";
    RowMediaMissing "row.media_missing" Error
        "the media file is not in /media"
        "upload it first";
    RowIdUsed "row.id_used" Info
        "this row_id was accepted before; nothing is sent"
        "use a new row_id for a new message";
    RowDuplicate "row.duplicate" Info
        "the same message was taken before from this file or its cut version; nothing is sent"
        "nothing to do";
    RowContactUnknown "row.contact_unknown" Error
        "no contact has this contact_id"
        "send the contact first";
    RowContactAmbiguous "row.contact_ambiguous" Error
        "more than one contact fits"
        "use contact_id";
    RowStaleUpdate "row.stale_update" Error
        "a newer update of this contact was applied before"
        "nothing to do";
    RowConsentOlderThanOptout "row.consent_older_than_optout" Warning
        "the consent is older than the person's opt-out"
        "ask the person again";
    RowTooLate "row.too_late" Error
        "the message's time had passed before the file arrived"
        "send the file earlier";
    RowTargetUnknown "row.target_unknown" Error
        "the target does not exist"
        "write file:<name>, batch:<id>, campaign:<name> or row:<row_id>, as the answers name it";
    RowTargetState "row.target_state" Error
        "the target is not in a state that allows this"
        "look into its ACK, result and progress; what has ended stays as it is";
    PolicyNoConsent "policy.no_consent" Error
        "there is no consent for marketing to this address"
        "record the consent first";
    PolicyOptedOut "policy.opted_out" Error
        "the person opted out"
        "do not write to this address again";
    PolicySuppressed "policy.suppressed" Error
        "the address is on the suppression list"
        "do not write to this address again";
    PolicyFrequencyCap "policy.frequency_cap" Error
        "the person had as many messages as the cap allows"
        "nothing to do";
    PolicyQuietHours "policy.quiet_hours" Info
        "outside the hours allowed; the message waits"
        "nothing to do";
    PolicyDestinationNotAllowed "policy.destination_not_allowed" Error
        "messages to this destination are not allowed"
        "ask the operator";
    PolicySenderNotAllowed "policy.sender_not_allowed" Error
        "the sender is not one of the tenant's"
        "use a sender of the tenant";
    PolicyCategoryNotAllowed "policy.category_not_allowed" Error
        "the category is not allowed here"
        "use another category";
    PolicyBudget "policy.budget" Error
        "the budget is used up"
        "ask the operator";
    PolicyExpired "policy.expired" Error
        "the message's time ran out before it could be sent"
        "send it again if it still matters";
    PolicyCancelled "policy.cancelled" Error
        "the message was cancelled"
        "nothing to do";
    PolicyReplyWindow "policy.reply_window" Error
        "free text is only allowed within the reply window"
        "use a template";
    PolicyTemplateNotApproved "policy.template_not_approved" Error
        "the provider has not approved the template"
        "wait for the approval";
    PolicyErased "policy.erased" Error
        "the person asked to be erased"
        "do not write to this address again";
    PolicyRestricted "policy.restricted" Error
        "the person asked for their data to be left alone"
        "do not write to this address";
    PolicyConsentExpired "policy.consent_expired" Error
        "the consent has run out"
        "ask the person again";
    PolicyDoubleOptinPending "policy.double_optin_pending" Error
        "the person has not confirmed yet"
        "wait for the confirmation";
    PolicyPaused "policy.paused" Error
        "sending is paused"
        "ask the operator";
    DeliveryRefused "delivery.refused" Error
        "the provider refused the message"
        "see provider_code";
    DeliveryProviderCredentials "delivery.provider_credentials" Error
        "the provider refused our account"
        "ask the operator";
    DeliveryProviderBalance "delivery.provider_balance" Error
        "the provider account has no balance"
        "ask the operator";
    DeliveryThrottled "delivery.throttled" Error
        "the provider asked us to slow down"
        "nothing to do";
    DeliveryOutcomeUnknown "delivery.outcome_unknown" Error
        "the message was handed over but the answer was lost"
        "check with the recipient before sending again";
    DeliveryNetwork "delivery.network" Error
        "the provider could not be reached"
        "nothing to do";
    DeliveryNoSuchRecipient "delivery.no_such_recipient" Error
        "the address does not exist"
        "correct or remove the address";
    DeliveryUnreachable "delivery.unreachable" Error
        "the recipient could not be reached"
        "try another channel";
    DeliveryBlockedByRecipient "delivery.blocked_by_recipient" Error
        "the recipient blocked the sender"
        "do not write to this address again";
    DeliveryBlockedByCarrier "delivery.blocked_by_carrier" Error
        "the carrier filtered the message"
        "change the text or the sender";
    DeliveryHardBounce "delivery.hard_bounce" Error
        "the message bounced for good"
        "remove the address";
    DeliverySoftBounce "delivery.soft_bounce" Error
        "the message bounced for now"
        "try again later";
    DeliveryMailboxFull "delivery.mailbox_full" Error
        "the recipient's mailbox is full"
        "try again later";
    DeliveryComplaint "delivery.complaint" Error
        "the recipient complained"
        "do not write to this address again";
    DeliveryNotOnChannel "delivery.not_on_channel" Error
        "the recipient does not use this channel"
        "use another channel";
    DeliveryRecipientLimit "delivery.recipient_limit" Error
        "the provider's limit for this recipient is reached"
        "try again later";
    DeliveryExpiredAtProvider "delivery.expired_at_provider" Error
        "the provider gave up delivering"
        "try again if it still matters";
    DeliveryContentRefused "delivery.content_refused" Error
        "the provider refused the content"
        "change the text";
    DeliverySenderNotRegistered "delivery.sender_not_registered" Error
        "the sender is not registered at the provider"
        "ask the operator";
    DeliveryAttemptsUsedUp "delivery.attempts_used_up" Error
        "all attempts failed for passing reasons"
        "send it again later";
    DeliveryNoReceipt "delivery.no_receipt" Info
        "no receipt came within the receipt window"
        "nothing to do";
    DeliveryOther "delivery.other" Error
        "the provider gave a reason that is not known"
        "see provider_code";
}

impl ReasonCode {
    /// The number that stands for the code in stored records.
    pub const fn index(self) -> u16 {
        self as u16
    }

    pub fn from_index(index: u16) -> Option<ReasonCode> {
        ReasonCode::ALL.get(index as usize).copied()
    }

    /// True where a limit of the configuration was hit; counted in `dropchute_limit_hits_total`.
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            ReasonCode::FileTooLarge
                | ReasonCode::FileTooManyRows
                | ReasonCode::HeaderTooManyColumns
                | ReasonCode::RowRecordTooLong
                | ReasonCode::RowValueTooLong
        )
    }

    /// True for the two codes that mean "same row again": never counted as bad rows.
    pub const fn is_duplicate(self) -> bool {
        matches!(self, ReasonCode::RowIdUsed | ReasonCode::RowDuplicate)
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_family_a_number_and_texts() {
        for (index, code) in ReasonCode::ALL.iter().enumerate() {
            let (family, name) = code.as_str().split_once('.').unwrap();
            assert!(["file", "header", "row", "policy", "delivery"].contains(&family));
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert_eq!(ReasonCode::from_text(code.as_str()), Some(*code));
            assert_eq!(ReasonCode::from_index(code.index()), Some(*code));
            assert_eq!(code.index() as usize, index);
            assert!(!code.meaning().is_empty() && !code.advice().is_empty());
        }
    }

    #[test]
    fn stored_numbers_never_move() {
        assert_eq!(ReasonCode::FileEmpty.index(), 0);
        assert_eq!(ReasonCode::HeaderMissing.index(), 30);
        assert_eq!(ReasonCode::RowFieldCount.index(), 42);
        assert_eq!(ReasonCode::DeliveryOther.index() as usize, ReasonCode::ALL.len() - 1);
    }
}
