//! A template: compiled once, rendered per recipient.

use super::engine::Engine;
use super::inline;
use super::scan::{Segment, scan};

/// Longest output of one part, in bytes.
pub(super) const MAX_OUTPUT_BYTES: usize = 256 * 1024;

/// A value by normalised name; an empty one counts as missing.
pub(super) type Lookup<'a> = dyn Fn(&str) -> Option<&'a str> + 'a;

/// A template as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateSource {
    pub name: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// What `{{1}}`, `{{2}}` … stand for, in order.
    pub params: Vec<String>,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("line {line}: a tag is not closed")]
    Unclosed { line: usize },
    #[error("{{{{{position}}}}} has no param, the template has {params}")]
    ParamOutOfRange { position: String, params: usize },
    #[error("line {line}: {problem}")]
    Syntax { line: usize, problem: String },
}

/// Why one rendering failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("variable {name} has no value")]
    MissingVariable { name: String },
    #[error("output is longer than {MAX_OUTPUT_BYTES} bytes")]
    TooLong,
    #[error("template takes too many steps")]
    OutOfFuel,
    #[error("template failed: {problem}")]
    Failed { problem: String },
}

/// Finished text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    name: String,
    subject: Part,
    text: Part,
    html: Part,
    variables: Vec<String>,
}

/// True where a row's inline text is a template and not plain text.
pub fn needs_rendering(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

impl Template {
    pub fn compile(source: TemplateSource) -> Result<Template, TemplateError> {
        let subject = Part::compile(&source.subject, &source.params, Target::Subject)?;
        let text = Part::compile(&source.text, &source.params, Target::Text)?;
        let html = Part::compile(&source.html, &source.params, Target::Html)?;
        let mut variables: Vec<String> = Vec::new();
        for name in [&subject, &text, &html].into_iter().flat_map(Part::required) {
            if !variables.contains(&name) {
                variables.push(name);
            }
        }
        Ok(Template { name: source.name, subject, text, html, variables })
    }

    /// Compiles a row's own text, which nobody on our side has read: names, harmless filters and
    /// conditions only.
    pub fn compile_inline(source: TemplateSource) -> Result<Template, TemplateError> {
        for part in [&source.subject, &source.text, &source.html] {
            inline::check(part)?;
        }
        Template::compile(source)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The variables that must have a value, by normalised name.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Fills in the values, once: a value that holds template syntax comes out as it is.
    pub fn render<'a>(
        &self,
        lookup: &(dyn Fn(&str) -> Option<&'a str> + 'a),
    ) -> Result<Rendered, RenderError> {
        Ok(Rendered {
            subject: self.subject.render(lookup)?,
            text: self.text.render(lookup)?,
            html: self.html.render(lookup)?,
        })
    }
}

/// What a part is for decides how its values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Subject,
    Text,
    Html,
}

#[derive(Debug)]
struct Part {
    target: Target,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Segments(Vec<Segment>),
    Engine(Box<Engine>),
}

impl Part {
    fn compile(text: &str, params: &[String], target: Target) -> Result<Part, TemplateError> {
        let scanned = scan(text, params)?;
        let body = match scanned.complex {
            Some(complex) => {
                Body::Engine(Box::new(Engine::compile(complex, target == Target::Html)?))
            }
            None => Body::Segments(scanned.segments),
        };
        Ok(Part { target, body })
    }

    fn required(&self) -> Vec<String> {
        match &self.body {
            Body::Engine(engine) => engine.required().iter().cloned().collect(),
            Body::Segments(segments) => segments
                .iter()
                .filter_map(|segment| match segment {
                    Segment::Value { name, default: None } => Some(name.clone()),
                    _ => None,
                })
                .collect(),
        }
    }

    fn render(&self, lookup: &Lookup<'_>) -> Result<String, RenderError> {
        let output = match &self.body {
            Body::Engine(engine) => engine.render(lookup)?,
            Body::Segments(segments) => self.fill(segments, lookup)?,
        };
        if self.target == Target::Subject && output.contains(char::is_control) {
            // A line end in a subject would begin another header.
            return Ok(output.replace(char::is_control, " "));
        }
        Ok(output)
    }

    fn fill(&self, segments: &[Segment], lookup: &Lookup<'_>) -> Result<String, RenderError> {
        let mut output = String::with_capacity(segments.len() * 48);
        for segment in segments {
            match segment {
                Segment::Literal(text) => output.push_str(text),
                Segment::Value { name, default } => {
                    let value =
                        lookup(name).filter(|value| !value.is_empty()).or(default.as_deref());
                    let Some(value) = value else {
                        return Err(RenderError::MissingVariable { name: name.clone() });
                    };
                    match self.target {
                        Target::Html => push_html(&mut output, value),
                        Target::Text | Target::Subject => output.push_str(value),
                    }
                }
            }
            if output.len() > MAX_OUTPUT_BYTES {
                return Err(RenderError::TooLong);
            }
        }
        Ok(output)
    }
}

fn push_html(output: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '&' => output.push_str("&amp;"),
            '<' => output.push_str("&lt;"),
            '>' => output.push_str("&gt;"),
            '"' => output.push_str("&quot;"),
            '\'' => output.push_str("&#x27;"),
            _ => output.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::compile(TemplateSource {
            text: text.to_owned(),
            params: vec!["First Name".to_owned(), "city".to_owned()],
            ..TemplateSource::default()
        })
        .unwrap()
    }

    fn value(name: &str) -> Option<&'static str> {
        Some(match name {
            "first_name" => "Ann",
            "city" => "Köln",
            "größe" => "XL",
            "evil" => "{{ city }} {% x %} <b>&'\"",
            "lines" => "a\r\nBcc: x@y",
            "empty" => "",
            _ => return None,
        })
    }

    fn text(source: &str) -> Result<String, RenderError> {
        template(source).render(&value).map(|rendered| rendered.text)
    }

    #[test]
    fn placeholders_mean_columns_however_they_are_written() {
        for (source, want) in [
            ("Dear {{first_name}},", "Dear Ann,"),
            ("Dear {{ First Name }}!", "Dear Ann!"),
            ("{{first-name}}/{{FIRST-NAME}}", "Ann/Ann"),
            ("{{1}} in {{ 2 }}", "Ann in Köln"),
            ("{{ Größe }}", "XL"),
            ("{{ nobody | default(\"friend\") }}", "friend"),
            ("{{ empty | default('}}') }}", "}}"),
            ("{{ nobody | d('friend') }}", "friend"),
            ("{{ nobody | default('friend') | upper }}", "FRIEND"),
            ("{{ first name | upper }}", "ANN"),
            ("{{ 1 | upper }} {{ größe | lower }}", "ANN xl"),
            ("{% if nobody %}x{% else %}y{% endif %}", "y"),
            ("{% if First_Name %}{{ first-name }}{% endif %}\n", "Ann\n"),
            ("{{ nobody if nobody else 'you' }}", "you"),
            ("{# note #}{{ city }}", "Köln"),
            ("{ a } {{ evil }}", "{ a } {{ city }} {% x %} <b>&'\""),
            ("{{ evil | trim }}", "{{ city }} {% x %} <b>&'\""),
            ("no tags", "no tags"),
        ] {
            assert_eq!(text(source).as_deref(), Ok(want), "{source}");
        }
    }

    #[test]
    fn a_missing_or_empty_value_is_an_error_and_never_a_hole() {
        for source in ["{{ empty }}", "{{ empty | upper }}", "{% if city %}{{ empty }}{% endif %}"]
        {
            let want = RenderError::MissingVariable { name: "empty".to_owned() };
            assert_eq!(text(source), Err(want), "{source}");
        }
    }

    #[test]
    fn html_escapes_values_and_a_subject_has_one_line() {
        for html in ["<i>{{ evil }}</i>", "<i>{{ evil | trim }}</i>"] {
            let template = Template::compile(TemplateSource {
                subject: "Hi {{ lines }}".to_owned(),
                html: html.to_owned(),
                ..TemplateSource::default()
            })
            .unwrap();
            let rendered = template.render(&value).unwrap();
            assert_eq!(rendered.subject, "Hi a  Bcc: x@y");
            assert!(
                rendered.html.starts_with("<i>{{ city }} {% x %} &lt;b&gt;&amp;"),
                "{rendered:?}"
            );
            assert!(rendered.html.contains("&quot;</i>"), "{rendered:?}");
        }
    }

    #[test]
    fn variables_are_those_without_which_a_row_must_fail() {
        let template = template(
            "{{1}} {{ City }} {{ x | default('') }} {% if vip %}{{ vip }}{% endif %} {{ a ~ b }} {{ city }}",
        );
        let mut variables = template.variables().to_vec();
        variables.sort();
        assert_eq!(variables, ["a", "b", "city", "first_name"]);
        assert_eq!(super::tests::template("{{ b }} {{ a }} {{ b }}").variables(), ["b", "a"]);
    }

    #[test]
    fn a_template_that_runs_away_is_stopped() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert_eq!(text(loops), Err(RenderError::OutOfFuel));
        let long = format!("{{% for a in range(300) %}}{}{{% endfor %}}", "x".repeat(1024));
        assert_eq!(text(&long), Err(RenderError::TooLong));
        assert_eq!(text(&"x".repeat(300 * 1024)), Err(RenderError::TooLong));
    }

    #[test]
    fn a_broken_template_is_named_by_line() {
        let compile = |text: &str| {
            let source = TemplateSource { text: text.to_owned(), ..TemplateSource::default() };
            Template::compile(source).unwrap_err()
        };
        assert_eq!(compile("a\n{{ b"), TemplateError::Unclosed { line: 2 });
        assert!(matches!(compile("{{ 1 }}"), TemplateError::ParamOutOfRange { .. }));
        assert!(matches!(compile("\n\n{% include 'x' %}"), TemplateError::Syntax { line: 3, .. }));
        assert!(matches!(compile("\n{% nonsense %}"), TemplateError::Syntax { line: 2, .. }));
        assert!(compile("{{ 1 }}").to_string().starts_with("{{1}} has no param"));
    }

    #[test]
    #[ignore = "a measurement: run it optimised"]
    #[allow(clippy::disallowed_methods, clippy::print_stderr, reason = "a measurement")]
    fn simple_templates_render_a_million_times_a_second() {
        let words =
            "some words around the values of a message, about as many as there are. ".repeat(4);
        let template = template(&format!(
            "Dear {{{{ first_name }}}},{words}{{{{ city }}}} {{{{1}}}} {{{{2}}}}"
        ));
        let start = std::time::Instant::now();
        for _ in 0..1_000_000 {
            std::hint::black_box(template.render(&value).unwrap());
        }
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("{:.2} million renders a second", 1.0 / seconds);
        assert!(seconds < 1.0, "{seconds}");
    }
}
