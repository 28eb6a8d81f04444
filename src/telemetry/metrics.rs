//! Every metric of the program, once.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::registry::{CounterBy, Desk, GaugeBy, MetricRow};

/// The metrics by name; what each means stands beside its name in [`Metrics::new`].
#[derive(Debug)]
pub struct Metrics {
    pub doors: DoorMetrics,
    pub files_claimed: Counter,
    pub files_answered: CounterBy<2>,
    pub rows: CounterBy<2>,
    pub batches_open: GaugeBy<1>,
    pub batches_aside: Gauge,
    pub attempts: CounterBy<2>,
    pub rows_settled: CounterBy<2>,
    pub window_claims: Counter,
    pub commit_seconds: Histogram,
    pub store_blobs: Gauge,
    pub answers_published: CounterBy<1>,
    pub limit_hits: CounterBy<1>,
    pub providers: ProviderMetrics,
    pub start_time_seconds: Gauge,
    pub disk_free_bytes: Gauge,
    pub disk_free_inodes: Gauge,
    pub disk_room: Gauge,
    desk: Desk,
}

impl Metrics {
    /// All metrics at zero, of the program's `version`.
    #[allow(
        clippy::too_many_lines,
        reason = "the table of all metrics: one list, without a branch"
    )]
    pub fn new(version: &str) -> Metrics {
        let mut desk = Desk::new();
        desk.info("build", "version", version, "The running version.");
        // From half a millisecond (memory) to four seconds (a disk in trouble).
        let commit_buckets = exponential_buckets(0.0005, 2.0, 14);
        Metrics {
            start_time_seconds: desk.gauge("start_time_seconds", "Unix time of the start."),
            doors: DoorMetrics::new(&mut desk),
            files_claimed: desk.counter("files_claimed", "Intake files claimed from an inbox."),
            files_answered: desk.counter_by(
                "files_answered",
                ["state", "test"],
                "Intake files answered, by the state in the ACK; `test`: `yes` where they were tried out.",
            ),
            rows: desk.counter_by(
                "rows",
                ["result", "test"],
                "Rows read, by result (`accepted`, `rejected`, `duplicate`).",
            ),
            batches_open: desk.gauge_by(
                "batches_open",
                ["test"],
                "Batches with rows that are not settled.",
            ),
            batches_aside: desk.gauge(
                "batches_aside",
                "Batches that cannot be worked on, because of a damaged file or a fault.",
            ),
            attempts: desk.counter_by(
                "attempts",
                ["provider", "outcome"],
                "Calls to a provider, by what they meant; tests call `simulator`.",
            ),
            rows_settled: desk.counter_by(
                "rows_settled",
                ["status", "test"],
                "Rows that reached their final status.",
            ),
            window_claims: desk.counter(
                "window_claims",
                "Windows of rows claimed for sending; each is one commit.",
            ),
            commit_seconds: desk.histogram(
                "commit_seconds",
                commit_buckets,
                "Time of a durable commit of the store.",
            ),
            store_blobs: desk.gauge(
                "store_blobs",
                "Records too large for the store's log; anything above 0 is a fault to report.",
            ),
            answers_published: desk.counter_by(
                "answers_published",
                ["answer"],
                "Answers put into an outbox, by kind.",
            ),
            providers: ProviderMetrics::new(&mut desk),
            limit_hits: desk.counter_by(
                "limit_hits",
                ["limit"],
                "How often a named limit stopped something.",
            ),
            disk_free_bytes: desk.gauge("disk_free_bytes", "Free space below the data directory."),
            disk_free_inodes: desk.gauge(
                "disk_free_inodes",
                "Free inodes below the data directory; 0 also where the file system counts none.",
            ),
            disk_room: desk.gauge(
                "disk_room",
                "2 where there is room, 1 below `disk_reserve` (no upload is taken), 0 where nothing is sent.",
            ),
            desk,
        }
    }

    /// Name, kind, labels and help of every metric, in the order of registration.
    pub fn table(&self) -> &[MetricRow] {
        self.desk.rows()
    }

    /// The current values in OpenMetrics text, which Prometheus reads.
    pub fn render(&self) -> String {
        self.desk.render()
    }
}

/// How providers stand.
#[derive(Debug)]
pub struct ProviderMetrics {
    pub closed: GaugeBy<1>,
    pub slowed: CounterBy<1>,
    pub under_way: GaugeBy<1>,
    pub concurrency: GaugeBy<1>,
    pub waiting: GaugeBy<1>,
}

impl ProviderMetrics {
    fn new(desk: &mut Desk) -> ProviderMetrics {
        ProviderMetrics {
            closed: desk.gauge_by(
                "provider_closed",
                ["provider"],
                "1 while a provider is away or refuses our account: only probes go to it.",
            ),
            slowed: desk.counter_by(
                "provider_slowed",
                ["provider"],
                "How often less was sent to a provider because it asked for it or did not answer.",
            ),
            under_way: desk.gauge_by(
                "provider_under_way",
                ["provider"],
                "Messages that a provider has not answered yet.",
            ),
            concurrency: desk.gauge_by(
                "provider_concurrency",
                ["provider"],
                "Messages that may be under way to a provider, as found out so far.",
            ),
            waiting: desk.gauge_by(
                "provider_waiting",
                ["provider"],
                "Messages that stand in line before a provider.",
            ),
        }
    }
}

/// What the doors count.
#[derive(Debug)]
pub struct DoorMetrics {
    pub uploads: CounterBy<1>,
    pub upload_bytes: CounterBy<1>,
    pub uploads_aborted: CounterBy<1>,
    pub uploads_incomplete: Gauge,
    pub uploads_expired: Counter,
    pub downloads: CounterBy<1>,
    pub download_bytes: CounterBy<1>,
    pub connections: CounterBy<1>,
    pub accept_errors: Counter,
    pub logins: CounterBy<2>,
    pub sessions: GaugeBy<1>,
    pub connections_refused: CounterBy<1>,
    pub bans: Gauge,
    pub password_checks: Counter,
    pub guard_delays: Counter,
    pub guard_delay_ms: Counter,
}

impl DoorMetrics {
    fn new(desk: &mut Desk) -> DoorMetrics {
        DoorMetrics {
            uploads: desk.counter_by("uploads", ["protocol"], "Uploads that ended whole."),
            upload_bytes: desk.counter_by(
                "upload_bytes",
                ["protocol"],
                "Bytes of files received, also of uploads cut later.",
            ),
            uploads_aborted: desk.counter_by(
                "uploads_aborted",
                ["protocol"],
                "Uploads cut before their end.",
            ),
            uploads_incomplete: desk
                .gauge("uploads_incomplete", "Uploads that were cut and can be continued."),
            uploads_expired: desk.counter(
                "uploads_expired",
                "Uploads that were cut and not continued within `resume_window`.",
            ),
            downloads: desk.counter_by("downloads", ["protocol"], "Files opened for reading."),
            download_bytes: desk.counter_by("download_bytes", ["protocol"], "Bytes of files sent."),
            connections: desk.counter_by(
                "connections",
                ["protocol"],
                "Connections taken in, by the protocol of the door.",
            ),
            accept_errors: desk.counter(
                "accept_errors",
                "Errors of accepting connections, such as too many open files.",
            ),
            logins: desk.counter_by(
                "logins",
                ["protocol", "result"],
                "Login attempts by result (`ok`, `refused`).",
            ),
            sessions: desk.gauge_by(
                "sessions",
                ["protocol"],
                "Connections open now; before the login by the protocol of the door.",
            ),
            connections_refused: desk.counter_by(
                "connections_refused",
                ["reason"],
                "Connections closed before a login, by the limit or rule that did it.",
            ),
            bans: desk.gauge("bans", "Sources of logins that are banned now."),
            password_checks: desk
                .counter("password_checks", "Passwords verified, also those of strangers."),
            guard_delays: desk.counter("guard_delays", "Refused logins that had to wait."),
            guard_delay_ms: desk.counter("guard_delay_ms", "How long refused logins waited."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics_with_values() -> Metrics {
        let metrics = Metrics::new("1.2.3");
        metrics.doors.uploads.of(["sftp"]).inc();
        metrics.doors.upload_bytes.of(["sftp"]).inc_by(4096);
        metrics.attempts.of(["mail\"hub", "accepted"]).inc_by(3);
        metrics.doors.sessions.of(["ftp"]).set(2);
        metrics.commit_seconds.observe(0.003);
        metrics
    }

    #[test]
    fn values_stand_under_their_names() {
        let text = metrics_with_values().render();
        for line in [
            "dropchute_build_info{version=\"1.2.3\"} 1",
            "dropchute_uploads_total{protocol=\"sftp\"} 1",
            "dropchute_upload_bytes_total{protocol=\"sftp\"} 4096",
            "dropchute_attempts_total{provider=\"mail\\\"hub\",outcome=\"accepted\"} 3",
            "dropchute_sessions{protocol=\"ftp\"} 2",
            "dropchute_commit_seconds_count 1",
            "# HELP dropchute_bans Sources of logins that are banned now.",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
    }

    /// Every sample belongs to a family declared before it and ends in a number.
    #[test]
    fn the_text_parses() {
        let text = metrics_with_values().render();
        let mut families = Vec::new();
        for line in text.lines().filter(|l| *l != "# EOF") {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                families.push(declared.split_once(' ').unwrap().0.to_owned());
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
                let name = series.split('{').next().unwrap();
                assert!(name.starts_with(families.last().unwrap().as_str()), "{line}");
                assert_eq!(series.contains('{'), series.ends_with('}'), "{line}");
            }
        }
        assert!(text.ends_with("# EOF\n"));
        let table = Metrics::new("");
        for family in families {
            assert!(table.table().iter().any(|row| row.name.starts_with(&family)));
        }
    }

    #[test]
    fn two_holders_of_one_counter_count_together() {
        let metrics = Metrics::new("1");
        let first = metrics.limit_hits.of(["sessions_max"]);
        first.inc();
        metrics.limit_hits.of(["sessions_max"]).inc();
        assert_eq!(first.get(), 2);
    }
}
