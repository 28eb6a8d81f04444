//! Inline text with placeholders: does the row give every variable it asks for?

use std::collections::HashMap;

use crate::codes::ReasonCode;
use crate::records::{Layout, MessageRow, Record, RowError, nearest};
use crate::render::{Template, TemplateSource, needs_rendering};

/// Remembers compiled texts, since most rows of a file share one.
#[derive(Debug, Default)]
pub(super) struct BodyCheck {
    compiled: HashMap<(String, String, String), Result<Vec<String>, String>>,
}

/// Different inline texts that are remembered; files with more compile each anew.
const REMEMBERED_MAX: usize = 64;

impl BodyCheck {
    /// Adds what is wrong with the row's own subject, text and html.
    pub(super) fn check(
        &mut self,
        row: &MessageRow,
        layout: &Layout,
        record: &Record,
        errors: &mut Vec<RowError>,
    ) {
        let own = [&row.subject, &row.text, &row.html];
        if !own.iter().any(|text| needs_rendering(text)) {
            return;
        }
        let key = (row.subject.clone(), row.text.clone(), row.html.clone());
        if self.compiled.len() >= REMEMBERED_MAX && !self.compiled.contains_key(&key) {
            self.compiled.clear();
        }
        let compiled = self.compiled.entry(key).or_insert_with(|| {
            Template::compile_inline(TemplateSource {
                name: "row".to_owned(),
                subject: row.subject.clone(),
                text: row.text.clone(),
                html: row.html.clone(),
                params: Vec::new(),
            })
            .map(|template| template.variables().to_vec())
            .map_err(|error| error.to_string())
        });
        let fault = |code: ReasonCode, column: &str, message: String| RowError {
            line: row.line,
            row: row.row,
            row_id: row.row_id.clone(),
            column: None,
            column_name: column.to_owned(),
            code,
            severity: code.severity(),
            message,
            value: String::new(),
            hint: code.advice().to_owned(),
        };
        match compiled {
            Err(message) => {
                let fault = fault(ReasonCode::RowValueNotAllowed, "text", message.clone());
                let hint = "write a placeholder as {{ name }}; braces that are text as {{ '{{' }}";
                errors.push(RowError { hint: hint.to_owned(), ..fault });
            }
            Ok(variables) => {
                for name in variables.iter().filter(|n| layout.variable(n, record).is_none()) {
                    let message =
                        format!("the text uses {{{{ {name} }}}}, a variable with no value here");
                    let hint = match nearest(name, layout.variable_names()) {
                        Some(known) if known != name => format!("did you mean {{{{ {known} }}}}?"),
                        _ => format!("fill the column {}", Layout::columns_for(name)),
                    };
                    let fault = fault(ReasonCode::RowVariableMissing, name, message);
                    errors.push(RowError { hint, ..fault });
                }
            }
        }
    }
}
