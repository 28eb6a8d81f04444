//! The log goes to standard error: text for people, JSON for machines.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("parse log filter {filter:?}")]
    Filter {
        filter: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("install the log: there is one already")]
    Installed(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Sets up the process's log once.
///
/// `filter` is in the `tracing` syntax: `info`, `info,dropchute::store=debug`. `under_journal` says that
/// the journal reads standard error (`JOURNAL_STREAM` is set): it stamps each line itself.
pub fn init(format: LogFormat, filter: &str, under_journal: bool) -> Result<(), TelemetryError> {
    let ansi = io::stderr().is_terminal();
    let log = subscriber(format, filter, !under_journal, ansi, io::stderr)?;
    tracing::subscriber::set_global_default(log).map_err(TelemetryError::Installed)
}

/// The subscriber over any writer, so that tests can read what it writes.
fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    stamped: bool,
    ansi: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi && format == LogFormat::Text)
        .with_writer(writer);
    Ok(match (format, stamped) {
        (LogFormat::Text, true) => Box::new(log.finish()),
        (LogFormat::Text, false) => Box::new(log.without_time().finish()),
        (LogFormat::Json, true) => Box::new(log.json().finish()),
        (LogFormat::Json, false) => Box::new(log.json().without_time().finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, stamped: bool) -> String {
        let page = Page::default();
        let writer = page.clone();
        let log = subscriber(format, "info", stamped, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(log, || {
            tracing::info!(tenant = "acme", "file claimed");
            tracing::debug!("below the filter");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn under_the_journal_a_text_line_has_no_time_of_its_own() {
        assert_eq!(
            written(LogFormat::Text, false),
            " INFO dropchute::telemetry::log::tests: file claimed tenant=\"acme\"\n"
        );
        assert!(written(LogFormat::Text, true).starts_with("20"));
    }

    #[test]
    fn a_json_line_is_an_object_with_fields() {
        let line: serde_json::Value =
            serde_json::from_str(&written(LogFormat::Json, true)).unwrap();
        assert_eq!(line["fields"]["tenant"], "acme");
        assert_eq!(line["fields"]["message"], "file claimed");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let error = subscriber(LogFormat::Text, "dropchute=loud", true, false, io::sink).err();
        assert_eq!(error.unwrap().to_string(), "parse log filter \"dropchute=loud\"");
    }
}
