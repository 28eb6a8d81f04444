//! What the program says about itself: the log's form, and every metric with its name and help.
//!
//! Owns the subscriber set-up and the table of metrics ([`Metrics::table`], from which the
//! documentation is generated). Never keeps a metric in a static: [`Metrics`] is made once and handed
//! down. Never takes a label's value from a partner: values are words of closed lists and names from
//! the configuration, so the number of series is bounded. Start reading at `metrics.rs`.

mod log;
mod metrics;
mod registry;

pub use log::{LogFormat, TelemetryError, init};
pub use metrics::{DoorMetrics, Metrics, ProviderMetrics};
pub use registry::{Counter, CounterBy, GaugeBy, MetricRow};
