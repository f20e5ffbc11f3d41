//! What the kernel says of this process, read from `/proc/self`. The library's own collector counts whole
//! seconds of CPU only.

use std::io;
use std::sync::OnceLock;

/// This process now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Process {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many there may be (RLIMIT_NOFILE).
    pub max_fds: u64,
    /// Memory in RAM.
    pub resident_bytes: u64,
    /// Address space.
    pub virtual_bytes: u64,
    /// When it started, in seconds since 1970.
    pub start_seconds: f64,
    /// Threads.
    pub threads: u64,
}

impl Process {
    /// Reads it.
    pub fn read() -> io::Result<Process> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        let mut process = parse(&stat, ticks, page).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat is not as expected")
        })?;
        process.start_seconds += boot_seconds();
        (process.open_fds, process.max_fds) = file_descriptors()?;
        Ok(process)
    }
}

/// How many file descriptors are open, and how many may be.
pub fn file_descriptors() -> io::Result<(u64, u64)> {
    // The folder that is read is one of them.
    let open = std::fs::read_dir("/proc/self/fd")?.count().saturating_sub(1);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    Ok((open as u64, limit.unwrap_or(u64::MAX)))
}

/// When the system booted, in seconds since 1970. Asked once: it shifts when the clock is set, and a
/// process does not start twice.
fn boot_seconds() -> f64 {
    static BOOT: OnceLock<f64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or_default()
    })
}

/// Reads the line of `proc_pid_stat(5)`; `start_seconds` counts from the boot.
fn parse(stat: &str, ticks: f64, page: u64) -> Option<Process> {
    // The second field is the program's name in parentheses, which may hold blanks and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The manual counts from 1; the first field after the name is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Process {
        cpu_seconds: (field(14)? + field(15)?) as f64 / ticks,
        threads: field(20)?,
        start_seconds: field(22)? as f64 / ticks,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * page,
        ..Process::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_called_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 75 8 9 20 0 3 0 1000 4096000 25 99 0";
        let process = parse(stat, 100.0, 4096).unwrap();
        assert_eq!(process.cpu_seconds, 2.25);
        assert_eq!(process.threads, 3);
        assert_eq!(process.start_seconds, 10.0);
        assert_eq!(process.virtual_bytes, 4_096_000);
        assert_eq!(process.resident_bytes, 25 * 4096);
        assert_eq!(parse("7 (cut) S 1", 100.0, 4096), None);
    }

    #[test]
    fn this_process_is_plausible() {
        let process = Process::read().unwrap();
        assert!(process.threads >= 1);
        assert!(process.open_fds >= 3 && process.open_fds < process.max_fds, "{process:?}");
        assert!(process.resident_bytes > 1 << 20 && process.resident_bytes < process.virtual_bytes);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(process.start_seconds <= now + 2.0 && process.start_seconds > now - 86_400.0);
    }
}
