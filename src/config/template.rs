//! Templates that stand in the configuration.

use super::problem::Complaint;
use super::section::{Item, Section};
use super::tenant::category;
use super::value;
use crate::model::{Category, ChannelKind};
use crate::render::{Template, TemplateSource};

/// A template with what it is for; it compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredTemplate {
    pub name: String,
    pub channel: ChannelKind,
    pub lang: String,
    pub category: Option<Category>,
    pub source: TemplateSource,
}

/// The section's templates, and those of `outer` that it does not replace.
pub(super) fn read_all(
    section: &Section<'_>,
    outer: &[ConfiguredTemplate],
) -> Vec<ConfiguredTemplate> {
    let sections = section.named_sections("template").into_iter();
    let mut templates: Vec<_> =
        sections.filter_map(|(name, section)| read(name, &section)).collect();
    for template in outer {
        if templates.iter().all(|own| own.name != template.name) {
            templates.push(template.clone());
        }
    }
    templates
}

fn read(name: String, section: &Section<'_>) -> Option<ConfiguredTemplate> {
    let channels: Vec<_> = ChannelKind::ALL.iter().map(|word| (word.as_str(), *word)).collect();
    let channel =
        section.required("channel", "a channel such as \"email\"", value::one_of(&channels));
    let lang = section.required("lang", "a language such as \"en\" or \"de-AT\"", lang);
    let category = section.optional("category", None, category);
    let params: Vec<String> = section.value("params", Vec::new(), value::list(value::word));
    let part = |key| {
        section.value(key, String::new(), |item| {
            let text = value::text(item)?;
            let source =
                TemplateSource { text, params: params.clone(), ..TemplateSource::default() };
            match Template::compile(source.clone()) {
                Ok(_) => Ok(source.text),
                Err(error) => Err(Complaint::new(format!("is no template: {error}"))),
            }
        })
    };
    let (subject, text, html) = (part("subject"), part("text"), part("html"));
    if !section.has("text") && !section.has("html") {
        section
            .complain("text", Complaint::new("is missing").allowed("the message, here or as html"));
    }
    if channel.is_some_and(|channel| channel != ChannelKind::Email) && section.has("html") {
        section.complain("html", Complaint::new("is for email only"));
    }
    let source = TemplateSource { name: name.clone(), subject, text, html, params };
    Some(ConfiguredTemplate { name, channel: channel?, lang: lang?, category, source })
}

fn lang(item: &Item<'_>) -> Result<String, Complaint> {
    let allowed = "a language such as \"en\" or \"de-AT\"";
    let lang = value::str_of(item, allowed)?;
    let first = lang.split(['-', '_']).next().unwrap_or_default();
    let is_language =
        matches!(first.len(), 2 | 3) && first.bytes().all(|b| b.is_ascii_alphabetic());
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if is_language && lang.len() <= 35 && lang.bytes().all(fits) {
        return Ok(lang.to_owned());
    }
    Err(Complaint::new("is no language").allowed(allowed))
}
