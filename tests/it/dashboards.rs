//! The dashboards and alert rules: what Grafana and Prometheus would refuse or show wrongly, found without
//! either. Every metric and label in them must be in docs/metrics.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Units of Grafana that the dashboards use; a misspelt one is shown as text behind the number.
const UNITS: &[&str] =
    &["Bps", "bytes", "cps", "dateTimeAsIso", "none", "percentunit", "pps", "reqps", "s", "short"];

/// The labels that Prometheus adds to what it scrapes.
const OF_THE_SCRAPE: [&str; 2] = ["job", "instance"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every dashboard with its file's name.
fn dashboards() -> Vec<(String, Value)> {
    let mut all: Vec<_> = std::fs::read_dir(root().join("dashboards"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let board = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), board)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The panels that show something: rows have no targets.
fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    list(board, "panels").iter().filter(|panel| panel["type"] != "row")
}

/// The metrics that docs/metrics.md promises, with their labels. A histogram has its three series.
fn contract() -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics = BTreeMap::new();
    for line in read("docs/metrics.md").lines().filter(|line| line.starts_with("| `")) {
        // `a\|b` within a cell is no border.
        let line = line.replace("\\|", "/");
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, ..] = cells[..] else { continue };
        let name = name.trim_matches('`').to_owned();
        let labels: BTreeSet<String> = (labels.split(", ").filter(|label| !label.is_empty()))
            .map(|label| label.split('=').next().unwrap_or_default().to_owned())
            .collect();
        if kind.starts_with("histogram") {
            let with_le = labels.iter().cloned().chain(["le".to_owned()]).collect();
            metrics.insert(format!("{name}_bucket"), with_le);
            metrics.insert(format!("{name}_sum"), labels.clone());
            metrics.insert(format!("{name}_count"), labels);
        } else {
            metrics.insert(name, labels);
        }
    }
    assert!(metrics.len() > 30, "the tables of docs/metrics.md are not understood");
    metrics
}

/// The words of an expression outside of quotes, and the quoted texts left out.
fn words(expression: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (part, outside) in expression.split('"').zip([true, false].into_iter().cycle()) {
        if outside {
            let separators = |c: char| !c.is_ascii_alphanumeric() && !"_$:".contains(c);
            words.extend(part.split(separators).filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    words
}

fn metrics_of(expression: &str) -> Vec<String> {
    let known = |word: &String| word.starts_with("polygate_") || word.starts_with("process_");
    words(expression).into_iter().filter(known).collect()
}

/// The label names in `{…}`, `by (…)` and `on (…)`.
fn labels_of(expression: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for (open, close) in [("{", '}'), ("by (", ')'), ("on (", ')'), ("without (", ')')] {
        for piece in expression.split(open).skip(1) {
            let inside = piece.split(close).next().unwrap_or_default();
            labels.extend(words(inside).into_iter().filter(|word| !word.starts_with('$')));
        }
    }
    labels
}

/// Fails if an expression names what the contract does not have.
#[track_caller]
fn within_the_contract(wher: &str, expression: &str, contract: &BTreeMap<String, BTreeSet<String>>) {
    let metrics = metrics_of(expression);
    let mut allowed: BTreeSet<&str> = OF_THE_SCRAPE.into_iter().collect();
    for metric in &metrics {
        let Some(labels) = contract.get(metric) else {
            // A name that count_values gives a label.
            if expression.contains(&format!("\"{metric}\"")) {
                continue;
            }
            panic!("{wher}: {metric} is not in docs/metrics.md\n{expression}");
        };
        allowed.extend(labels.iter().map(String::as_str));
        allowed.insert(metric);
    }
    for label in labels_of(expression) {
        assert!(allowed.contains(&*label), "{wher}: no metric of it has the label {label}\n{expression}");
    }
}

#[test]
fn every_expression_uses_metrics_and_labels_of_the_contract() {
    let contract = contract();
    for (name, board) in dashboards() {
        for panel in panels(&board) {
            for target in list(panel, "targets") {
                within_the_contract(&format!("{name}, {}", panel["title"]), text(target, "expr"), &contract);
            }
        }
        for variable in list(&board["templating"], "list") {
            if variable["type"] == "query" {
                let query = text(&variable["query"], "query");
                let inner = query.trim_start_matches("label_values(").trim_end_matches(')');
                let (selector, label) = inner.rsplit_once(", ").unwrap();
                within_the_contract(&name, &format!("sum by ({label}) ({selector})"), &contract);
            }
        }
        for annotation in list(&board["annotations"], "list") {
            within_the_contract(&name, text(annotation, "expr"), &contract);
        }
    }
}

#[test]
fn the_alerts_use_the_contract_and_each_has_its_runbook_and_its_test() {
    let contract = contract();
    let rules = read("dashboards/prometheus/alerts.yml");
    let tests = read("dashboards/prometheus/alerts.test.yml");
    let index = read("docs/runbooks/README.md");
    let operations = read("docs/operations.md");
    let field = |line: &str, key: &str| {
        let value = line.trim_start().trim_start_matches("- ").strip_prefix(key)?;
        Some(value.trim().trim_matches('\'').replace("''", "'"))
    };
    let names: Vec<String> = rules.lines().filter_map(|line| field(line, "alert:")).collect();
    assert!(names.len() > 15, "the rules are not understood");
    for name in &names {
        assert!(root().join(format!("docs/runbooks/{name}.md")).is_file(), "{name} has no runbook");
        assert!(rules.contains(&format!("runbook_url: docs/runbooks/{name}.md")), "{name} names none");
        assert!(tests.contains(&format!("- name: {name}\n")), "{name} has no test");
        assert!(index.contains(&format!("[{name}]({name}.md)")), "{name} is not in the list of runbooks");
        assert!(operations.contains(&format!("(runbooks/{name}.md)")), "{name} is not in operations.md");
    }
    for expression in rules.lines().filter_map(|line| field(line, "expr:")) {
        within_the_contract("alerts.yml", &expression, &contract);
    }
    for entry in std::fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.trim_end_matches(".md");
        assert!(name == "README" || names.iter().any(|known| known == name), "{name} is no alert");
    }
}

#[test]
fn the_rules_for_kubernetes_are_the_same() {
    let rules = read("dashboards/prometheus/alerts.yml");
    let operator = read("deploy/kubernetes/prometheusrule.yaml");
    let plain = &rules[rules.find("\ngroups:").unwrap() + 1..];
    let nested = &operator[operator.find("\n  groups:").unwrap() + 1..];
    let unindented: Vec<&str> = nested.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
    assert_eq!(plain.trim_end(), unindented.join("\n").trim_end());
}

#[test]
fn dashboards_have_what_every_dashboard_needs() {
    let mut uids = BTreeSet::new();
    let boards = dashboards();
    for (name, board) in &boards {
        assert_eq!(text(board, "uid"), format!("polygate-{name}"));
        assert!(uids.insert(text(board, "uid").to_owned()), "{name}: the uid is used twice");
        assert!(text(board, "title").starts_with("polygate / "), "{name}");
        assert!(!text(board, "description").is_empty(), "{name}");
        assert_eq!(board["schemaVersion"], 39, "{name}");
        assert!(board.get("__inputs").is_none(), "{name}: provisioned files have no inputs");
        assert_eq!(board["editable"], false, "{name}: changes belong into the file");
        assert_eq!(board["tags"], serde_json::json!(["polygate"]), "{name}");
        let links = &board["links"][0];
        assert!(
            links["includeVars"] == true && links["keepTime"] == true,
            "{name}: links keep the selection"
        );

        let variables: Vec<&str> =
            list(&board["templating"], "list").iter().map(|variable| text(variable, "name")).collect();
        let expected: &[&str] = if name == "runtime" {
            &["datasource", "job", "instance"]
        } else {
            &["datasource", "job", "instance", "listener"]
        };
        assert_eq!(variables, expected, "{name}");
        for variable in list(&board["templating"], "list").iter().filter(|v| v["type"] == "query") {
            assert_eq!(variable["refresh"], 2, "{name}: asked again when the time changes");
            assert_eq!(variable["allValue"], ".+", "{name}");
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}");
        }
        let annotations: Vec<&str> =
            list(&board["annotations"], "list").iter().map(|note| text(note, "name")).collect();
        assert!(annotations.contains(&"Reloads") && annotations.contains(&"Restarts"), "{name}");
    }
    let names: Vec<&str> = boards.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["datagrams", "ftp", "listener", "overview", "runtime"]);
    let kustomization = read("dashboards/kustomization.yaml");
    for name in names {
        assert!(kustomization.contains(&format!("- {name}.json")), "{name} is not in kustomization.yaml");
    }
}

#[test]
fn every_panel_has_a_title_a_description_a_unit_and_sound_queries() {
    for (name, board) in dashboards() {
        let mut ids = BTreeSet::new();
        for panel in list(&board, "panels") {
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{name}: the id {} is used twice",
                panel["id"]
            );
            assert!(!text(panel, "title").is_empty(), "{name}: panel {} has no title", panel["id"]);
        }
        for panel in panels(&board) {
            let wher = format!("{name}, {}", panel["title"]);
            assert!(text(panel, "description").len() > 15, "{wher}: no description");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{wher}");
            let units = std::iter::once(&panel["fieldConfig"]["defaults"]["unit"]).chain(
                list(&panel["fieldConfig"], "overrides")
                    .iter()
                    .flat_map(|over| list(over, "properties"))
                    .filter(|property| property["id"] == "unit")
                    .map(|property| &property["value"]),
            );
            for unit in units {
                assert!(UNITS.contains(&unit.as_str().unwrap_or_default()), "{wher}: unit {unit}");
            }
            let targets = list(panel, "targets");
            assert!(!targets.is_empty(), "{wher}: no query");
            let mut letters = BTreeSet::new();
            for target in targets {
                assert!(letters.insert(text(target, "refId")), "{wher}: a refId is used twice");
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{wher}");
                sound(&wher, text(target, "expr"));
            }
        }
    }
}

/// The rules of Grafana's dashboard-linter for a query.
#[track_caller]
fn sound(wher: &str, expression: &str) {
    for opening in expression.split('{').skip(1) {
        let selector = opening.split('}').next().unwrap_or_default();
        for label in [r#"job=~"$job""#, r#"instance=~"$instance""#] {
            assert!(selector.contains(label), "{wher}: no {label} in\n{expression}");
        }
    }
    for range in expression.split('[').skip(1) {
        let range = range.split(']').next().unwrap_or_default();
        assert!(["$__rate_interval", "$__range"].contains(&range), "{wher}: [{range}]");
    }
    // A counter that is shown as it is says when the process started, not what happens.
    for metric in metrics_of(expression) {
        if metric.ends_with("_total") || metric.ends_with("_bucket") {
            let calls = ["rate(", "increase("].map(|function| format!("{function}{metric}{{"));
            assert!(calls.iter().any(|call| expression.contains(call)), "{wher}: {metric} without a rate");
        }
    }
}

#[test]
fn no_panel_lies_on_another() {
    for (name, board) in dashboards() {
        let at = |panel: &Value| {
            let of = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            (of("x"), of("y"), of("w"), of("h"))
        };
        let all: Vec<&Value> = list(&board, "panels").iter().collect();
        for (index, one) in all.iter().enumerate() {
            let (x, y, w, h) = at(one);
            assert!(x + w <= 24 && w > 0 && h > 0, "{name}: {} is out of the grid", one["title"]);
            for other in &all[index + 1..] {
                let (ox, oy, ow, oh) = at(other);
                let apart = x + w <= ox || ox + ow <= x || y + h <= oy || oy + oh <= y;
                assert!(apart, "{name}: {} lies on {}", one["title"], other["title"]);
            }
        }
    }
}

#[test]
fn links_lead_to_dashboards_that_exist() {
    let boards = dashboards();
    let uids: BTreeSet<String> = boards.iter().map(|(_, board)| text(board, "uid").to_owned()).collect();
    let mut seen = 0;
    for (name, board) in &boards {
        for piece in board.to_string().split("/d/").skip(1) {
            let uid = piece.split(['?', '"', '/']).next().unwrap_or_default();
            assert!(uids.contains(uid), "{name}: no dashboard {uid}");
            seen += 1;
        }
    }
    assert!(seen > 0, "the table of listeners has lost its links");
}
