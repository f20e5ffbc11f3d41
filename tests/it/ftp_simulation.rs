//! `ftp`: sessions of commands drawn at random against a model that knows what each must be answered.
//!
//! Commands come together and cut at any byte; each has exactly one final reply, in order, and files and quota are as
//! the model says. A failure prints its seed; `FTP_SEEDS=FROM..TO` runs others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use fastrand::Rng;

use crate::ftp_client::{Ftp, counted, gate, timed};
use crate::harness::{Gate, eventually};

/// Prints what is needed to see a failure again.
struct Seed(u64);

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "a test that fails says how to see it again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see it again: FTP_SEEDS={}..{}", self.0, self.0 + 1);
        }
    }
}

/// One session, and what must be true of it.
struct Simulation<'a> {
    gate: &'a Gate,
    rng: Rng,
    name: String,
    ftp: Ftp,
    image: bool,
    rest: usize,
    from: Option<String>,
    data: Option<TcpStream>,
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
}

impl<'a> Simulation<'a> {
    fn begin(gate: &'a Gate, seed: u64) -> Self {
        let mut ftp = Ftp::to(gate);
        let name = format!("s{seed}");
        ftp.asks(&format!("SITE REGISTER {name} geheim"), "200");
        ftp.asks("PWD", "530");
        let mut simulation = Simulation {
            gate,
            rng: Rng::with_seed(seed),
            name,
            ftp,
            image: false,
            rest: 0,
            from: None,
            data: None,
            files: BTreeMap::new(),
            folders: BTreeSet::new(),
        };
        simulation.log_in();
        simulation
    }

    fn log_in(&mut self) {
        self.ftp.asks(&format!("USER {}", self.name), "331");
        self.ftp.asks("PASS geheim", "230");
        (self.image, self.rest, self.from, self.data) = (false, 0, None, None);
    }

    fn file(&mut self) -> String {
        format!("/f{}", self.rng.u8(0..3))
    }

    /// A command without a data connection, and the code that it must have. Changes the model.
    fn command(&mut self) -> (String, &'static str) {
        let from = self.from.take();
        let (file, folder) = (self.file(), format!("/d{}", self.rng.u8(0..2)));
        let has = self.files.contains_key(&file);
        let found = |there: bool, code| if there { code } else { "550" };
        match self.rng.u8(0..24) {
            0 => ("NOOP".into(), "200"),
            1 => ("pwd".into(), "257"),
            2 => {
                self.image = true;
                ("TYPE I".into(), "200")
            }
            3 => {
                self.image = false;
                ("TYPE A".into(), "200")
            }
            4 => {
                self.rest = self.rng.usize(0..40);
                (format!("REST {}", self.rest), "350")
            }
            5 if self.image => (format!("SIZE {file}"), found(has, "213")),
            6 => (format!("MDTM {file}"), found(has, "213")),
            7 | 8 => {
                self.from = has.then(|| file.clone());
                (format!("RNFR {file}"), found(has, "350"))
            }
            9 | 10 => {
                let Some(from) = from else { return (format!("RNTO {file}"), "503") };
                if let Some(bytes) = self.files.remove(&from) {
                    self.files.insert(file.clone(), bytes);
                }
                (format!("RNTO {file}"), "250")
            }
            11 => (format!("DELE {file}"), found(self.files.remove(&file).is_some(), "250")),
            12 => (format!("MKD {folder}"), found(self.folders.insert(folder.clone()), "257")),
            13 => (format!("RMD {folder}"), found(self.folders.remove(&folder), "250")),
            14 => ("CWD /".into(), "250"),
            15 => ("CWD /nowhere".into(), "550"),
            16 => {
                self.data = None;
                ("ABOR".into(), "226")
            }
            17 => ("RETR".into(), "501"),
            18 => ("PASS geheim".into(), "503"),
            19 => ("FEAT".into(), "211"),
            20 => ("MODE B".into(), "504"),
            21 => (format!("XYZ{}", self.rng.alphanumeric()), "500"),
            22 => ("STAT".into(), "211"),
            _ => (String::new(), "500"),
        }
    }

    /// Several at once, cut anywhere.
    fn together(&mut self) {
        let commands: Vec<_> = (0..self.rng.usize(1..12)).map(|_| self.command()).collect();
        let text: String = commands.iter().map(|(line, _)| format!("{line}\r\n")).collect();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.rng.usize(1..=rest.len()));
            self.ftp.stream().say(piece);
            rest = behind;
        }
        for (line, code) in commands {
            let reply = self.ftp.hear();
            assert!(reply.starts_with(code), "{line:?}: {reply:?}, not {code}, of {text:?}");
        }
    }

    fn connects(&mut self) {
        let at = self.ftp.passive();
        (self.data, self.from) = (Some(timed(TcpStream::connect(at).unwrap())), None);
    }

    /// Why a transfer is refused before it begins, if it is; what the model has at its offset, if not.
    fn refused(&mut self, line: &str, code: Option<&str>) -> bool {
        self.from = None;
        let Some(code) = code.or_else(|| self.data.is_none().then_some("425")) else { return false };
        self.ftp.asks(line, code);
        true
    }

    fn retrieve(&mut self) {
        let (file, rest) = (self.file(), std::mem::take(&mut self.rest));
        let line = format!("RETR {file}");
        let bytes = self.files.get(&file).cloned();
        let code = match &bytes {
            _ if rest > 0 && !self.image => Some("504"),
            None => Some("550"),
            Some(bytes) if rest > bytes.len() => Some("554"),
            Some(_) => None,
        };
        if self.refused(&line, code) {
            return;
        }
        self.ftp.asks(&line, "150");
        let mut got = Vec::new();
        self.data.take().unwrap().read_to_end(&mut got).unwrap();
        assert_eq!(got, bytes.unwrap()[rest..], "{line} from {rest}");
        self.ftp.hears("226");
    }

    fn store(&mut self) {
        let (file, rest) = (self.file(), std::mem::take(&mut self.rest));
        let appends = self.rng.u8(0..4) == 0;
        let line = format!("{} {file}", if appends { "APPE" } else { "STOR" });
        let old = self.files.get(&file).cloned();
        let len = old.as_ref().map_or(0, Vec::len);
        let code = match rest {
            0 => None,
            _ if appends => Some("503"),
            _ if !self.image => Some("504"),
            _ if rest > len => Some("554"),
            _ => None,
        };
        if self.refused(&line, code) {
            return;
        }
        // No line ends, so that both types have the same bytes.
        let more: Vec<u8> = (0..self.rng.usize(0..3000)).map(|_| self.rng.alphanumeric() as u8).collect();
        self.ftp.asks(&line, "150");
        let mut data = self.data.take().unwrap();
        data.write_all(&more).unwrap();
        if self.rng.u8(0..4) == 0 {
            // Cut: what was there is there still, and what came may be a partial.
            self.ftp.say("NOOP\r\nABOR\r\nNOOP");
            self.ftp.hears("200");
            self.ftp.hears("426");
            self.ftp.hears("226");
            self.ftp.hears("200");
            let reply = self.ftp.ask(&format!("DELE {file}.partial"));
            assert!(["250", "550"].contains(&&reply[..3]), "{reply}");
            return;
        }
        drop(data);
        self.ftp.hears("226");
        let keeps = if appends { len } else { rest };
        let mut bytes = old.unwrap_or_default();
        bytes.truncate(keeps);
        bytes.extend(more);
        self.files.insert(file, bytes);
    }

    fn list(&mut self) {
        self.rest = 0;
        if self.refused("NLST", None) {
            return;
        }
        self.ftp.asks("NLST", "150");
        let mut got = String::new();
        self.data.take().unwrap().read_to_string(&mut got).unwrap();
        let got: BTreeSet<&str> = got.lines().collect();
        let names: BTreeSet<&str> = self.files.keys().chain(&self.folders).map(|name| &name[1..]).collect();
        assert_eq!(got, names);
        self.ftp.hears("226");
    }

    fn step(&mut self) {
        match self.rng.u8(0..12) {
            0..4 => self.together(),
            4..7 => self.connects(),
            7..9 => self.store(),
            9..10 => self.retrieve(),
            10 => self.list(),
            _ if self.rng.u8(0..4) == 0 => {
                self.ftp.asks("REIN", "220");
                self.ftp.asks("PWD", "530");
                self.log_in();
            }
            _ => self.together(),
        }
    }

    /// Leaves, in order or not; then files and quota are looked at from another session.
    fn end(mut self) {
        let sum: usize = self.files.values().map(Vec::len).sum();
        let begins = format!("200 {sum} bytes ");
        eventually("the quota is as the model says", || self.ftp.ask("SITE QUOTA").starts_with(&begins));
        if self.rng.bool() {
            self.ftp.asks("QUIT", "221");
            self.ftp.is_ended();
        } else {
            self.ftp.stream().say("RETR /f");
        }
        drop(self.ftp);
        let home = self.gate.folder().join("files").join(&self.name);
        for (name, bytes) in &self.files {
            assert_eq!(&std::fs::read(home.join(&name[1..])).unwrap(), bytes, "{name}");
        }
        let count = || std::fs::read_dir(&home).unwrap().count();
        eventually("nothing else is left", || count() == self.files.len() + self.folders.len());
    }
}

#[test]
fn sessions_at_random_are_answered_as_the_model_says() {
    let seeds = std::env::var("FTP_SEEDS").unwrap_or_else(|_| "0..24".into());
    let (from, to) = seeds.split_once("..").expect("FTP_SEEDS is FROM..TO");
    let gate = gate("");
    for seed in from.parse().unwrap()..to.parse().unwrap() {
        let _seed = Seed(seed);
        let mut simulation = Simulation::begin(&gate, seed);
        for _ in 0..40 {
            simulation.step();
        }
        simulation.end();
    }
    eventually("no session is left", || counted(&gate, "polygate_ftp_sessions_authenticated", &[]) == 0);
    assert_eq!(counted(&gate, "polygate_ftp_transfers_active", &[]), 0);
    assert_eq!(counted(&gate, "polygate_ftp_passive_ports_in_use", &[]), 0);
}
