//! What the kernel says of another process.

use std::fs;
use std::time::Instant;

use crate::args::{Args, Failure};

/// The CPU time of all its threads, in nanoseconds (`/proc/PID/task/*/schedstat`, first number).
pub fn cpu_ns(pid: u32) -> Result<u64, Failure> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(sum)
}

/// Its proportional set size, in KiB.
pub fn pss_kib(pid: u32) -> Result<u64, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find(|line| line.starts_with("Pss:")).ok_or("no Pss")?;
    Ok(line.split_whitespace().nth(1).ok_or("no Pss")?.parse()?)
}

/// When a closed loop begins to count, and when it ends.
pub enum Window {
    /// By the clock: after a warm-up, for so long. The CPU time of `pid` is taken at both ends.
    Time { pid: u32, warm_up: f64, seconds: f64, since: Instant, opened: Option<Opened> },
    /// After so many requests.
    Requests(u64),
}

/// The state of things when the counting began.
pub struct Opened {
    at: Instant,
    requests: u64,
    cpu_ns: u64,
}

impl Window {
    pub fn new(args: &Args) -> Result<Self, Failure> {
        if let Some(requests) = args.find("requests")? {
            return Ok(Window::Requests(requests));
        }
        let (warm_up, seconds) = (args.or("warm_up", 0.3)?, args.or("seconds", 2.0)?);
        Ok(Window::Time { pid: args.get("pid")?, warm_up, seconds, since: Instant::now(), opened: None })
    }

    /// To be called every now and then with the requests answered so far. True once it is over; then the
    /// result has been printed.
    pub fn look(&mut self, requests: u64) -> Result<bool, Failure> {
        match self {
            Window::Requests(limit) => {
                if requests < *limit {
                    return Ok(false);
                }
                println!("requests={requests}");
            }
            Window::Time { pid, warm_up, since, opened: opened @ None, .. } => {
                if since.elapsed().as_secs_f64() >= *warm_up {
                    *opened = Some(Opened { at: Instant::now(), requests, cpu_ns: cpu_ns(*pid)? });
                }
                return Ok(false);
            }
            Window::Time { pid, seconds, opened: Some(opened), .. } => {
                let elapsed = opened.at.elapsed().as_secs_f64();
                if elapsed < *seconds {
                    return Ok(false);
                }
                let cpu_ns = cpu_ns(*pid)? - opened.cpu_ns;
                let requests = requests - opened.requests;
                println!("requests={requests} seconds={elapsed:.3} cpu_ns={cpu_ns}");
            }
        }
        Ok(true)
    }
}
