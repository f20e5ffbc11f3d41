//! What programs leave behind comes to the gateway, which reaps it.

use super::Gateway;
use crate::harness::eventually;

/// The children of a process, of whichever of its threads.
fn children(pid: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists =
        threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn neither_commands_nor_their_orphans_stay_as_zombies() {
    // The orphan leaves group and session and cleans its environment, so that nothing tells whose it was.
    let text = r#"
        listeners.run = { bind = "tcp://127.0.0.1:0", handler = "run" }
        [handlers.run]
        type = "runner"
        commands.leave = { argv = ["/bin/sh", "-c", "env -i setsid /bin/sh -c 'echo $$ >&2; exec sleep 0.5' & sleep 0.1; echo left"] }
    "#;
    let gateway = Gateway::start(text);
    let mut client = gateway.connect("run");
    client.ask("leave\nStart\n", "Ready|5left\n");
    let line = gateway.logged("the orphan says its number", |line| line["stderr"].is_string());
    let orphan = line["stderr"].as_str().unwrap().to_owned();
    eventually("the orphan is gone", || !std::path::Path::new(&format!("/proc/{orphan}")).exists());
    eventually("nothing is left", || children(gateway.pid()).is_empty());
}
