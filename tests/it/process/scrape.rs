//! Prometheus' text format, read as far as the tests need it.

use std::collections::{BTreeMap, BTreeSet};

use super::Gateway;

/// One answer of `/metrics`.
#[derive(Debug)]
pub(crate) struct Scrape {
    /// The names after `# TYPE`, with the type.
    pub(crate) families: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    #[track_caller]
    pub(crate) fn of(gateway: &Gateway) -> Self {
        let answer = gateway.get("/metrics");
        assert_eq!(answer.status, 200);
        Self::parse(&answer.body)
    }

    #[track_caller]
    fn parse(text: &str) -> Self {
        let mut scrape = Scrape { families: BTreeMap::new(), samples: Vec::new() };
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').expect("a type");
                let before = scrape.families.insert(name.into(), kind.into());
                assert_eq!(before, None, "{name} is there twice");
            } else if !line.starts_with('#') {
                scrape.samples.push(Sample::parse(line));
            }
        }
        let series: BTreeSet<_> =
            scrape.samples.iter().map(|sample| (&sample.name, &sample.labels)).collect();
        assert_eq!(series.len(), scrape.samples.len(), "a series is there twice");
        scrape
    }

    /// The sum over all series of that name that have these labels; none where there is no such series.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|has| has == value))
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).reduce(|a, b| a + b)
    }

    /// The values of a label over all series of that name.
    pub(crate) fn values_of(&self, name: &str, label: &str) -> BTreeSet<String> {
        let of_name = self.samples.iter().filter(|sample| sample.name == name);
        of_name.filter_map(|sample| sample.labels.get(label).cloned()).collect()
    }
}

impl Sample {
    #[track_caller]
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').expect("a closing brace");
        // No value here has a comma followed by a name, nor an escaped quote.
        let label = |pair: &str| {
            let (key, value) = pair.split_once("=\"").expect("a label");
            (key.to_owned(), value.trim_end_matches('"').to_owned())
        };
        let labels = labels.split("\",").filter(|pair| !pair.is_empty()).map(label).collect();
        Sample { name: name.into(), labels, value: value.parse().expect("a number") }
    }
}
