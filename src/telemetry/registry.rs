//! Registering a metric and writing its row of the table in one step, so that neither can be forgotten.

use std::fmt;

use prometheus_client::encoding::text::encode;
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

const PREFIX: &str = "dropchute";

/// One metric as the documentation lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricRow {
    /// The full name, as scraped.
    pub name: String,
    pub kind: &'static str,
    pub labels: Vec<&'static str>,
    pub help: &'static str,
}

type Labels<const N: usize> = [(&'static str, String); N];

/// A counter for each combination of `N` label values.
#[derive(Debug, Clone)]
pub struct CounterBy<const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, Counter>,
}

impl<const N: usize> CounterBy<N> {
    /// The counter for these values, given in the order of the labels.
    pub fn of(&self, values: [&str; N]) -> Counter {
        self.family.get_or_create_owned(&labels(self.names, values))
    }
}

/// A gauge for each combination of `N` label values.
#[derive(Debug, Clone)]
pub struct GaugeBy<const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, Gauge>,
}

impl<const N: usize> GaugeBy<N> {
    /// The gauge for these values, given in the order of the labels.
    pub fn of(&self, values: [&str; N]) -> Gauge {
        self.family.get_or_create_owned(&labels(self.names, values))
    }
}

fn labels<const N: usize>(names: [&'static str; N], values: [&str; N]) -> Labels<N> {
    std::array::from_fn(|at| (names[at], values[at].to_owned()))
}

/// The registry and its table.
pub(super) struct Desk {
    registry: Registry,
    rows: Vec<MetricRow>,
}

impl Desk {
    pub(super) fn new() -> Desk {
        Desk { registry: Registry::with_prefix(PREFIX), rows: Vec::new() }
    }

    pub(super) fn rows(&self) -> &[MetricRow] {
        &self.rows
    }

    /// The whole registry in OpenMetrics text.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a String cannot fail");
        text
    }

    /// `name` is without `_total`, which the format adds.
    pub(super) fn counter(&mut self, name: &str, help: &'static str) -> Counter {
        let counter = Counter::default();
        self.registry.register(name, sentence(help), counter.clone());
        self.row(&format!("{name}_total"), "counter", &[], help);
        counter
    }

    pub(super) fn counter_by<const N: usize>(
        &mut self,
        name: &str,
        names: [&'static str; N],
        help: &'static str,
    ) -> CounterBy<N> {
        let family = Family::default();
        self.registry.register(name, sentence(help), family.clone());
        self.row(&format!("{name}_total"), "counter", &names, help);
        CounterBy { names, family }
    }

    pub(super) fn gauge(&mut self, name: &str, help: &'static str) -> Gauge {
        let gauge = Gauge::default();
        self.registry.register(name, sentence(help), gauge.clone());
        self.row(name, "gauge", &[], help);
        gauge
    }

    pub(super) fn gauge_by<const N: usize>(
        &mut self,
        name: &str,
        names: [&'static str; N],
        help: &'static str,
    ) -> GaugeBy<N> {
        let family = Family::default();
        self.registry.register(name, sentence(help), family.clone());
        self.row(name, "gauge", &names, help);
        GaugeBy { names, family }
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        buckets: impl Iterator<Item = f64>,
        help: &'static str,
    ) -> Histogram {
        let histogram = Histogram::new(buckets);
        self.registry.register(name, sentence(help), histogram.clone());
        self.row(name, "histogram", &[], help);
        histogram
    }

    /// A constant 1 that carries one label; `name` is without `_info`, which the format adds.
    pub(super) fn info(
        &mut self,
        name: &str,
        label: &'static str,
        value: &str,
        help: &'static str,
    ) {
        self.registry.register(name, sentence(help), Info::new([(label, value.to_owned())]));
        self.row(&format!("{name}_info"), "info", &[label], help);
    }

    fn row(&mut self, name: &str, kind: &'static str, labels: &[&'static str], help: &'static str) {
        let name = format!("{PREFIX}_{name}");
        self.rows.push(MetricRow { name, kind, labels: labels.to_vec(), help });
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("metrics", &self.rows.len()).finish_non_exhaustive()
    }
}

/// The crate ends every help text with a full stop itself.
fn sentence(help: &'static str) -> &'static str {
    help.trim_end_matches('.')
}
