//! Which of the tenant's templates a row means, and whether the row gives what it needs.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::codes::ReasonCode;
use crate::model::{Category, ChannelKind};

use super::layout::Layout;
use super::nearest::{did_you_mean, nearest};
use super::problem::either;
use super::record::Record;

/// A hint lists no more templates than this.
const HINT_NAMES_MAX: usize = 5;

/// What a row must know of one of the tenant's templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateNeeds {
    pub name: String,
    pub channel: ChannelKind,
    /// As the template has it; empty fits every row.
    pub lang: String,
    /// Normalised names of the variables that must have a value.
    pub variables: Vec<String>,
    pub category: Option<Category>,
}

/// The tenant's templates, found by name.
#[derive(Debug)]
pub(super) struct Templates {
    all: Vec<TemplateNeeds>,
    by_name: HashMap<String, Vec<usize>>,
    /// For each template the layout's number of each variable it needs; `None` where no column gives
    /// it.
    needs: Vec<Vec<Option<usize>>>,
    /// The last question and its answer: files ask the same row after row.
    last: RefCell<Option<Found>>,
}

#[derive(Debug)]
struct Found {
    name: String,
    channel: ChannelKind,
    lang: String,
    at: usize,
}

impl Templates {
    pub(super) fn new(all: Vec<TemplateNeeds>, layout: &Layout) -> Templates {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, template) in all.iter().enumerate() {
            by_name.entry(template.name.clone()).or_default().push(at);
        }
        let number = |name: &String| layout.variable_names().position(|known| known == name);
        let needs = all.iter().map(|t| t.variables.iter().map(number).collect()).collect();
        Templates { all, by_name, needs, last: RefCell::new(None) }
    }

    /// All of this name, on any channel and in any language.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &TemplateNeeds> {
        self.by_name.get(name).into_iter().flatten().map(|at| &self.all[*at])
    }

    /// Position of the template for this channel: in the row's language, else in the same language
    /// of another region, else the first.
    pub(super) fn find(&self, name: &str, channel: ChannelKind, lang: &str) -> Option<usize> {
        if let Some(last) = &*self.last.borrow()
            && last.channel == channel
            && same(&last.name, name)
            && same(&last.lang, lang)
        {
            return Some(last.at);
        }
        let on_channel = |at: &&usize| self.all[**at].channel == channel;
        let candidates = || self.by_name.get(name).into_iter().flatten().filter(on_channel);
        let spelled = |at: &&usize| self.all[**at].lang.eq_ignore_ascii_case(lang);
        let related = |at: &&usize| {
            !lang.is_empty() && primary(&self.all[**at].lang).eq_ignore_ascii_case(primary(lang))
        };
        let at = candidates()
            .find(spelled)
            .or_else(|| candidates().find(related))
            .or_else(|| candidates().next())
            .copied()?;
        let (name, lang) = (name.to_owned(), lang.to_owned());
        *self.last.borrow_mut() = Some(Found { name, channel, lang, at });
        Some(at)
    }

    /// Names of the variables of a template that the row leaves empty.
    pub(super) fn missing<'a>(
        &'a self,
        at: usize,
        layout: &'a Layout,
        record: &'a Record,
    ) -> impl Iterator<Item = &'a str> {
        let names = self.all[at].variables.iter().map(String::as_str);
        names
            .zip(&self.needs[at])
            .filter(|(_, number)| number.is_none_or(|n| layout.value_of(n, record).is_empty()))
            .map(|(name, _)| name)
    }

    pub(super) fn get(&self, at: usize) -> &TemplateNeeds {
        &self.all[at]
    }

    /// "Did you mean" for a name that does not exist.
    pub(super) fn hint(&self, name: &str) -> String {
        let mut names: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        names.sort_unstable();
        if names.is_empty() {
            return "there are no templates: give a text, or ask the operator for one".to_owned();
        }
        match nearest(name, names.iter().copied()) {
            Some(known) => did_you_mean(known),
            None if (1..=HINT_NAMES_MAX).contains(&names.len()) => format!("use {}", either(names)),
            None => ReasonCode::RowTemplateUnknown.advice().to_owned(),
        }
    }
}

/// Equality that does not compare two empty texts: an empty `String` points nowhere, and the vector
/// instructions of libc's `memcmp` take a fault on such an address, 100 ns a row.
fn same(left: &str, right: &str) -> bool {
    left.len() == right.len() && (left.is_empty() || left == right)
}

fn primary(lang: &str) -> &str {
    lang.split(['-', '_']).next().unwrap_or(lang)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Directives, ReadSettings};

    #[test]
    fn the_language_decides_between_templates_of_one_name() {
        let template = |lang: &str, channel| TemplateNeeds {
            name: "invoice".into(),
            channel,
            lang: lang.into(),
            variables: Vec::new(),
            category: None,
        };
        let all = vec![
            template("en", ChannelKind::Email),
            template("de-AT", ChannelKind::Email),
            template("de", ChannelKind::Sms),
        ];
        let header = ["email".to_owned(), "template".to_owned()];
        let (layout, _) =
            Layout::build(&header, &ReadSettings::default(), &Directives::default()).unwrap();
        let templates = Templates::new(all, &layout);
        for (channel, lang, expected) in [
            (ChannelKind::Email, "", Some(0)),
            (ChannelKind::Email, "EN", Some(0)),
            (ChannelKind::Email, "de", Some(1)),
            (ChannelKind::Email, "fr", Some(0)),
            (ChannelKind::Sms, "en", Some(2)),
            (ChannelKind::Viber, "en", None),
        ] {
            assert_eq!(templates.find("invoice", channel, lang), expected, "{channel} {lang}");
        }
        assert_eq!(templates.hint("invoce"), "did you mean `invoice`?");
    }
}
