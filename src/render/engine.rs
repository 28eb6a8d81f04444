//! Templates with conditions, loops or filters, run by minijinja under limits.
//!
//! There is no loader: a template sees its values and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use minijinja::value::Object;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use super::scan::{ALIAS_PREFIX, Complex};
use super::template::{Lookup, MAX_OUTPUT_BYTES, RenderError, TemplateError};
use crate::model::normalise_name;

/// Steps one rendering may take; a loop over a loop uses it up at once.
const FUEL: u64 = 50_000;
const PART: &str = "part";

/// One compiled part.
#[derive(Debug)]
pub(super) struct Engine {
    environment: Environment<'static>,
    /// The identifier in the source, and the name to look up.
    names: Vec<(String, String)>,
    /// Names that must have a value.
    required: BTreeSet<String>,
}

impl Engine {
    pub(super) fn compile(mut complex: Complex, html: bool) -> Result<Engine, TemplateError> {
        if complex.source.ends_with('\n') {
            // The language drops the last line end; a message keeps the one it was written with.
            complex.source.push('\n');
        }
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        // A test of a missing name is an answer, printing one is an error.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(move |_| {
            if html { AutoEscape::Html } else { AutoEscape::None }
        });
        let syntax = |error: minijinja::Error| TemplateError::Syntax {
            line: error.line().unwrap_or(0),
            problem: error.detail().unwrap_or("not understood").to_owned(),
        };
        environment.add_template_owned(PART, complex.source).map_err(syntax)?;
        let template = environment.get_template(PART).map_err(syntax)?;
        let names: Vec<(String, String)> = template
            .undeclared_variables(false)
            .into_iter()
            .filter(|identifier| !environment.globals().any(|(global, _)| global == identifier))
            .map(|identifier| {
                let alias =
                    identifier.strip_prefix(ALIAS_PREFIX).and_then(|n| n.parse::<usize>().ok());
                let name = match alias.and_then(|index| complex.aliases.get(index)) {
                    Some(name) => name.clone(),
                    None => normalise_name(&identifier),
                };
                (identifier, name)
            })
            .collect();
        let required = names
            .iter()
            .map(|(_, name)| name.clone())
            .filter(|name| !complex.optional.contains(name))
            .collect();
        Ok(Engine { environment, names, required })
    }

    pub(super) fn required(&self) -> &BTreeSet<String> {
        &self.required
    }

    pub(super) fn render(&self, lookup: &Lookup<'_>) -> Result<String, RenderError> {
        let mut values = BTreeMap::new();
        for (identifier, name) in &self.names {
            match lookup(name).filter(|value| !value.is_empty()) {
                Some(value) => {
                    values.insert(identifier.clone(), Value::from(value));
                }
                None if self.required.contains(name) => {
                    return Err(RenderError::MissingVariable { name: name.clone() });
                }
                None => {}
            }
        }
        let missing = self.names.iter().find(|(identifier, _)| !values.contains_key(identifier));
        let missing = missing.map(|(_, name)| name.clone());
        let mut output = Capped(Vec::new());
        let template = self.environment.get_template(PART).map_err(|e| failed(&e, None))?;
        let context = Value::from_object(Values(values));
        template.render_captured_to(context, &mut output).map_err(|e| failed(&e, missing))?;
        String::from_utf8(output.0)
            .map_err(|_| RenderError::Failed { problem: "output is not UTF-8".to_owned() })
    }
}

fn failed(error: &minijinja::Error, missing: Option<String>) -> RenderError {
    match (error.kind(), missing) {
        (ErrorKind::OutOfFuel, _) => RenderError::OutOfFuel,
        (ErrorKind::WriteFailure, _) => RenderError::TooLong,
        (ErrorKind::UndefinedError, Some(name)) => RenderError::MissingVariable { name },
        _ => RenderError::Failed { problem: error.kind().to_string() },
    }
}

/// What a template sees, by identifier.
#[derive(Debug)]
struct Values(BTreeMap<String, Value>);

impl Object for Values {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).cloned()
    }
}

/// Output that refuses to grow past the cap.
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(io::Error::other("output too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
