//! All pages of one tenant.

use std::collections::BTreeMap;

use super::{columns, readme, sample, tables};
use crate::intake::TenantSettings;
use crate::outbox::AnswerStyle;
use crate::transfer;

/// One tenant, as its stations have it.
#[derive(Debug, Clone, Copy)]
pub struct Portrait<'a> {
    pub intake: &'a TenantSettings,
    pub doors: &'a transfer::Tenant,
    /// How answers are written where no profile says otherwise.
    pub answers: &'a AnswerStyle,
}

/// The files of `/spec` by their path in it.
pub type Pages = BTreeMap<String, Vec<u8>>;

/// Every page, made anew.
pub fn pages(tenant: Portrait<'_>) -> Pages {
    let samples = sample::all(tenant.intake);
    let mut pages = Pages::from([
        ("README.txt".to_owned(), readme::text(tenant, &samples)),
        ("columns.csv".to_owned(), columns::table(tenant.intake)),
        ("error-codes.csv".to_owned(), tables::error_codes()),
        ("templates.csv".to_owned(), tables::templates(tenant.intake)),
        ("limits.csv".to_owned(), tables::limits(tenant)),
    ]);
    for sample in samples {
        pages.insert(format!("samples/{}", sample.name), sample.bytes);
    }
    pages
}
