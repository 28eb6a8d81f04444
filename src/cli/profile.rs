//! `profile learn`: a profile proposed from a sample, to paste into the configuration.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::args::Global;
use super::outcome::{Failure, print};
use crate::config::profile_toml;
use crate::records::learn as learn_from;

/// So much of a file is looked at.
const SAMPLE_MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct LearnArgs {
    /// A file as the partner sends it.
    file: PathBuf,
    /// Two letters: the country of phone numbers without one.
    #[arg(long, value_parser = country)]
    country: Option<String>,
    /// The name that such files have, where the sample's own is another.
    #[arg(long)]
    name: Option<String>,
    /// The tenant, for the section's name; without it the section is for a file of tenants.d.
    #[arg(long)]
    tenant: Option<String>,
}

fn country(text: &str) -> Result<String, String> {
    let country = text.to_ascii_uppercase();
    let is_country = country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
    is_country.then_some(country).ok_or_else(|| "a country is two letters such as DE".to_owned())
}

pub(super) fn learn(global: &Global, args: &LearnArgs) -> Result<(), Failure> {
    let path = args.file.display();
    let mut sample = Vec::new();
    File::open(&args.file)
        .and_then(|file| file.take(SAMPLE_MAX_BYTES).read_to_end(&mut sample))
        .with_context(|| format!("read {path}"))?;
    if sample.len() as u64 == SAMPLE_MAX_BYTES
        && let Some(end) = sample.iter().rposition(|byte| *byte == b'\n')
    {
        sample.truncate(end + 1);
    }
    let own = args.file.file_name().unwrap_or_default().to_string_lossy();
    let name = args.name.as_deref().unwrap_or(&own);
    let proposal = learn_from(&sample, name, args.country.as_deref())
        .with_context(|| format!("learn from {path}"))?;
    let toml = profile_toml(&proposal, args.tenant.as_deref());
    if global.json {
        let confirm = &proposal.to_confirm;
        return print(format_args!(
            "{:#}",
            json!({ "profile": proposal.name, "toml": toml, "confirm": confirm })
        ));
    }
    print(format_args!("{}", toml.trim_end()))
}
