//! What containers publish: the image's configuration, the Dockerfile and compose.yaml speak of the same ports.

use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What a configuration binds on every address, `7007/tcp`, and the range of its passive ports.
fn bound(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for quoted in text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| line.split('"')) {
        for transport in ["tcp", "udp"] {
            if let Some(port) = quoted.strip_prefix(&format!("{transport}://0.0.0.0:")) {
                found.insert(format!("{port}/{transport}"));
            }
        }
        let range = quoted.split_once('-').filter(|(low, high)| {
            [low, high].iter().all(|port| port.len() == 5 && port.bytes().all(|byte| byte.is_ascii_digit()))
        });
        if range.is_some() {
            found.insert(format!("{quoted}/tcp"));
        }
    }
    assert!(found.len() > 5, "the endpoints were found: {found:?}");
    found
}

#[test]
fn the_image_exposes_what_its_configuration_binds() {
    let dockerfile = read("Dockerfile");
    let line = dockerfile.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
    let exposed: BTreeSet<String> = line.split(' ').map(str::to_owned).collect();
    assert_eq!(exposed, bound(&read("config/docker.toml")));
}

#[test]
fn compose_publishes_what_its_configuration_binds_under_the_same_numbers() {
    let mut published = BTreeSet::new();
    let compose = read("compose.yaml");
    let (own, _) = compose.split_once("\n  prometheus:").unwrap();
    for entry in own.lines().filter_map(|line| line.trim().strip_prefix("- \"")?.strip_suffix('"')) {
        let Some((ports, transport)) = entry.rsplit_once('/') else { continue };
        let Some((outside, inside)) = ports.rsplit_once(':') else { continue };
        let outside = outside.rsplit(':').next().unwrap();
        assert_eq!(outside, inside, "the address that FTP and the pages name is the same on both sides");
        published.insert(format!("{inside}/{transport}"));
    }
    // Prometheus asks for the metrics within the network of the containers.
    published.insert("9901/tcp".to_owned());
    assert_eq!(published, bound(&read("config/compose/polygate.toml")));
}
