//! What a scrape shows, without a gateway; and the table compared with its documentation.

use std::collections::{BTreeSet, HashMap};

use super::series::{Kind, Label, Metric};
use super::table;
use super::view::{Runtime, View};
use super::*;
use crate::config::Transport;
use crate::net::sock_diag::Queue;
use crate::stats::{Counter, CounterKind, DatagramDrop, RejectReason, Stats};
use crate::supervisor::State;

fn view(stats: &Stats) -> View {
    let queues = HashMap::from([(11, Queue { length: 3, limit: 128, drops: 0 })]);
    View {
        snapshot: stats.snapshot(),
        listeners: vec![samples::listener("echo")],
        ready: true,
        queues: Some(queues),
        kernel_drops: HashMap::from([("echo".into(), 7)]),
        process: Process::read().ok(),
        runtime: Runtime::default(),
    }
}

/// The text of a gateway with one listener that has done a little.
fn scrape() -> String {
    let stats = Stats::new();
    let tcp = stats.open("echo", Transport::Tcp);
    tcp.reject(RejectReason::PerIp);
    tcp.counters(Counter {
        name: "polygate_example_total",
        help: "An example.",
        kind: CounterKind::Counter,
        labels: &[("kind", &["a", "b"])],
    })
    .add(&[1], 5);
    let udp = stats.open("echo", Transport::Udp);
    udp.datagrams.drop_one(DatagramDrop::KernelBuffer);
    udp.datagrams.observe_batch(3);
    stats.control().admin_request(
        crate::stats::AdminRequest { route: "/livez".into(), method: "GET", code: 200 },
        0.002,
    );
    encode(&families(&view(&stats)))
}

#[track_caller]
fn shows(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "no line {line} in\n{text}");
}

#[test]
fn a_scrape_shows_what_happened_and_zeros_for_what_did_not() {
    let text = scrape();
    let l = |transport: &str| format!("listener=\"echo\",transport=\"{transport}\"");
    let (tcp, udp) = (l("tcp"), l("udp"));
    shows(&text, &format!("polygate_connections_accepted_total{{{tcp}}} 1"));
    shows(&text, &format!("polygate_connections_rejected_total{{{tcp},reason=\"per_ip\"}} 1"));
    shows(&text, &format!("polygate_connections_rejected_total{{{tcp},reason=\"acl\"}} 0"));
    shows(&text, &format!("polygate_connections_closed_total{{{tcp},reason=\"too_large\"}} 0"));
    shows(&text, &format!("polygate_connections_limit{{{tcp}}} 100"));
    shows(&text, &format!("polygate_accept_queue_length{{{tcp}}} 3"));
    shows(&text, &format!("polygate_accept_queue_limit{{{tcp}}} 128"));
    shows(&text, &format!("polygate_listener_up{{{udp}}} 1"));
    shows(&text, &format!("polygate_datagrams_dropped_total{{{udp},reason=\"kernel_buffer\"}} 8"));
    shows(&text, &format!("polygate_datagram_batch_size_bucket{{{udp},le=\"4\"}} 1"));
    shows(&text, &format!("polygate_handler_panics_total{{{udp},handler=\"echo\"}} 0"));
    shows(&text, &format!("polygate_example_total{{{tcp},kind=\"a\"}} 0"));
    shows(&text, &format!("polygate_example_total{{{tcp},kind=\"b\"}} 5"));
    shows(&text, "polygate_config_reload_failures_total{trigger=\"watch\",stage=\"bind\"} 0");
    shows(&text, "polygate_admin_requests_total{route=\"/livez\",method=\"GET\",code=\"200\"} 1");
    assert!(!text.contains(&format!("polygate_connections_active{{{udp}}}")), "udp has no connections");
    assert!(!text.contains(&format!("polygate_datagrams_sent_total{{{tcp}}}")), "tcp has no datagrams");
}

#[test]
fn every_row_has_series_with_its_labels_and_only_values_of_its_sets() {
    let stats = Stats::new();
    stats.open("echo", Transport::Tcp);
    stats.open("echo", Transport::Udp);
    stats.upstream("back", "tcp://10.0.0.1:80");
    let view = view(&stats);
    for metric in table::all() {
        let Some(family) = metric.family(&view) else {
            assert!(metric.name.contains("_admin_"), "{} shows nothing", metric.name);
            continue;
        };
        let mut seen = vec![BTreeSet::new(); metric.labels.len()];
        for sample in family.get_metric() {
            let names: Vec<_> = sample.get_label().iter().map(|pair| pair.name()).collect();
            let expected: Vec<_> = metric.labels.iter().map(|label| label.name).collect();
            assert_eq!(names, expected, "{}", metric.name);
            for (seen, pair) in seen.iter_mut().zip(sample.get_label()) {
                seen.insert(pair.value().to_owned());
            }
        }
        // A set is shown whole; of the transports only what the listener has.
        for (label, seen) in metric.labels.iter().zip(seen).filter(|(label, _)| label.name != "transport") {
            if let Some(values) = label.values {
                let whole: BTreeSet<_> = values().into_iter().map(str::to_owned).collect();
                assert_eq!(seen, whole, "{} {}", metric.name, label.name);
            }
        }
    }
}

#[test]
fn names_follow_the_rules() {
    let mut names = BTreeSet::new();
    for metric in table::all() {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
        assert!(metric.name.starts_with("polygate_") || metric.name.starts_with("process_"));
        assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.name);
    }
    assert_eq!(descriptions().len(), table::all().count(), "the library accepts every name and label");
}

#[test]
fn the_kernel_that_does_not_answer_leaves_its_metrics_out() {
    let stats = Stats::new();
    stats.open("echo", Transport::Tcp);
    let view = View { queues: None, ..view(&stats) };
    assert!(!encode(&families(&view)).contains("accept_queue"));
}

#[test]
fn a_listener_that_does_not_accept_is_not_up() {
    let stats = Stats::new();
    stats.open("echo", Transport::Tcp);
    let mut paused = view(&stats);
    paused.listeners[0].state = State::Paused;
    shows(&encode(&families(&paused)), "polygate_listener_up{listener=\"echo\",transport=\"tcp\"} 0");
}

#[test]
fn the_metrics_fit_the_registry_of_a_program_that_embeds_a_gateway() {
    fn is_collector<T: Collector + 'static>() {}
    is_collector::<Metrics>();
}

/// The documentation's row of a metric.
fn documented(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let label = |label: &Label| match label.values {
        Some(values) if label.name != "transport" => format!("{}={}", label.name, values().join("\\|")),
        _ => label.name.to_owned(),
    };
    let labels: Vec<_> = metric.labels.iter().map(label).collect();
    format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help)
}

/// The row of a number that a handler declares. Labels of many values are explained in the text.
fn declared(counter: &crate::stats::Counter) -> String {
    let kind = match counter.kind {
        crate::stats::CounterKind::Counter => "counter",
        crate::stats::CounterKind::Gauge => "gauge",
        crate::stats::CounterKind::Lifetimes => "histogram D2",
    };
    let own = counter.labels.iter().map(|(name, values)| match values.len() {
        // One of them each, whatever the handler: see the page's head.
        0..=32 if *name != "handler" => format!("{name}={}", values.join("\\|")),
        _ => (*name).to_owned(),
    });
    let labels: Vec<String> = ["listener", "transport"].map(str::to_owned).into_iter().chain(own).collect();
    format!("| `{}` | {kind} | {} | {} |", counter.name, labels.join(", "), counter.help)
}

#[test]
fn the_documentation_lists_exactly_the_table_and_what_the_handlers_declare() {
    let page = include_str!("../../docs/metrics.md");
    let mut written: Vec<_> = page.lines().filter(|l| l.starts_with("| `p")).map(str::to_owned).collect();
    let own: Vec<_> = table::all().map(documented).collect();
    let mut handlers: Vec<_> = crate::handlers::builtin().counters().iter().map(declared).collect();
    handlers.sort();
    // Several handlers may count the same.
    handlers.dedup();
    let in_table = |line: &String| own.contains(line);
    let (table, mut others): (Vec<_>, Vec<_>) = written.drain(..).partition(in_table);
    others.sort();
    assert!(table == own, "docs/metrics.md should list\n{}", own.join("\n"));
    assert!(others == handlers, "and, of the handlers,\n{}", handlers.join("\n"));
}
