//! One control connection: lines in, replies out, strictly in the order of the commands.
//!
//! What comes is taken apart into lines as it comes, and the lines wait in a queue. Between transfers the queue is
//! worked off; while a transfer runs only what may overtake it is done at once ([`Session::accompany`]).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt;

use super::counts::Counts;
use super::data::Data;
use super::digest::Algorithm;
use super::listing::Facts;
use super::login::Who;
use super::reply::Reply;
use super::{Command, Ftp, LONGEST_AFTER_LOGIN, LONGEST_BEFORE_LOGIN, Line, Lines, TlsMode, Verb};
use crate::handler::{Conn, Phase};
use crate::handlers::told::LoginFailure;
use crate::stats::CloseReason;
use crate::storage::HomePath;

/// How much is read at once.
pub(super) const CHUNK: usize = 4 * 1024;

/// Replies that are collected for commands that came together.
const COLLECTED: usize = 8 * 1024;

/// How bytes of files go over data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Representation {
    /// TYPE A: with CR LF as line ends.
    Ascii,
    /// TYPE I: as they are.
    Image,
}

/// One control connection.
pub(super) struct Session<'a> {
    pub(super) ftp: &'a Ftp,
    pub(super) counts: Arc<Counts>,
    pub(super) lines: Lines,
    pub(super) queue: VecDeque<Line>,
    out: Vec<u8>,
    /// The client has ended its side.
    pub(super) ended: bool,
    /// Nothing more is done.
    pub(super) leaving: bool,
    /// The name of USER, until PASS.
    pub(super) user: Option<String>,
    pub(super) failures: u32,
    pub(super) who: Option<Who>,
    pub(super) folder: HomePath,
    pub(super) representation: Representation,
    /// Where the next transfer begins.
    pub(super) rest: u64,
    /// What ALLO said of the next upload.
    pub(super) allocated: Option<u64>,
    pub(super) rename: Option<HomePath>,
    pub(super) data: Option<Data>,
    /// After EPSV ALL.
    pub(super) epsv_only: bool,
    /// After PBSZ, and after PROT P.
    pub(super) has_buffer: bool,
    pub(super) protects_data: bool,
    /// The reply has been sent already.
    pub(super) is_silent: bool,
    pub(super) facts: Facts,
    pub(super) algorithm: Algorithm,
    /// What RANG said of the next HASH.
    pub(super) range: Option<(u64, u64)>,
}

/// What there is to do.
enum Next {
    Line(Line),
    /// The client has gone.
    End,
    /// The gateway wants an end.
    Drained,
    Killed(CloseReason),
}

impl<'a> Session<'a> {
    pub(super) fn new(ftp: &'a Ftp, conn: &Conn) -> Self {
        Session {
            ftp,
            counts: Counts::of(&conn.meter().site().ledger),
            lines: Lines::default(),
            queue: VecDeque::new(),
            out: Vec::new(),
            ended: false,
            leaving: false,
            user: None,
            failures: 0,
            who: None,
            folder: HomePath::ROOT,
            representation: Representation::Ascii,
            rest: 0,
            allocated: None,
            rename: None,
            data: None,
            epsv_only: false,
            has_buffer: false,
            protects_data: ftp.mode == TlsMode::Implicit,
            is_silent: false,
            facts: Facts::ALL,
            algorithm: Algorithm::Sha256,
            range: None,
        }
    }

    /// Serves it to its end.
    pub(super) async fn run(mut self, conn: &mut Conn) -> io::Result<()> {
        // Until somebody has logged in the clock of a request runs.
        conn.enter(Phase::Request);
        self.say(&Reply::new(220, self.ftp.options.greeting.as_str()));
        while !self.leaving {
            let reply = match self.next(conn).await? {
                Next::Line(line) => self.answer(conn, line).await?,
                Next::End => return Ok(()),
                Next::Drained => self.leave(Reply::new(421, "The service is closing; come back later.")),
                Next::Killed(reason) => self.leave(farewell(reason)),
            };
            self.say(&reply);
        }
        self.flush(conn).await
    }

    fn leave(&mut self, reply: Reply) -> Reply {
        self.leaving = true;
        reply
    }

    /// Takes a line to its one final reply.
    async fn answer(&mut self, conn: &mut Conn, line: Line) -> io::Result<Reply> {
        let began = Instant::now();
        let reply = match line {
            Line::Whole(line) => self.command(conn, &line).await?,
            Line::TooLong => self.unknown("The line is too long."),
            Line::Hopeless => {
                conn.ends_because(CloseReason::TooLarge);
                self.leaving = true;
                self.unknown("The lines are too long; good-bye.")
            }
        };
        conn.meter().site().ledger.observe_units(1, began.elapsed());
        Ok(reply)
    }

    fn unknown(&self, text: &str) -> Reply {
        self.counts.command(None);
        Reply::new(500, text)
    }

    async fn command(&mut self, conn: &mut Conn, line: &[u8]) -> io::Result<Reply> {
        let parsed = Command::parse(line);
        if !matches!(&parsed, Ok(command) if command.verb == Verb::Rnto) {
            // RNTO comes right after RNFR, or what is to be renamed is forgotten (RFC 959, 4.1.3).
            self.rename = None;
        }
        let command = match parsed {
            Ok(command) => command,
            Err(super::Refused::Unknown) => return Ok(self.unknown("The command is not known.")),
            Err(super::Refused::Arguments(verb)) => {
                self.counts.command(Some(verb));
                let what =
                    if verb.argument() == super::Argument::None { "no argument" } else { "an argument" };
                return Ok(Reply::new(501, format!("{} takes {what}.", verb.name())));
            }
        };
        self.counts.command(Some(command.verb));
        describe(conn, command);
        if command.verb.needs_login() && self.who.is_none() {
            return Ok(Reply::new(530, "Log in with USER and PASS first."));
        }
        self.dispatch(conn, command.verb, command.argument).await
    }

    async fn dispatch(&mut self, conn: &mut Conn, verb: Verb, argument: &[u8]) -> io::Result<Reply> {
        Ok(match verb {
            Verb::User => match self.needs_tls(conn) {
                Some(refusal) => refusal,
                None => self.name_user(argument),
            },
            Verb::Pass => self.check_password(conn, argument).await,
            Verb::Acct => Reply::new(202, "No account is needed besides USER and PASS."),
            Verb::Rein => self.reinitialize(conn),
            Verb::Quit => self.leave(Reply::new(221, "Good-bye.")),
            Verb::Host => self.name_host(),
            Verb::Cwd => self.change_folder(conn, argument).await,
            Verb::Cdup => self.change_folder(conn, b"..").await,
            Verb::Pwd => {
                Reply::new(257, super::reply::quoted(&self.folder.to_bytes(), " is the working directory."))
            }
            Verb::Port | Verb::Eprt => self.set_active(conn, verb, argument),
            Verb::Pasv => self.set_passive(conn).await,
            Verb::Epsv => self.set_extended_passive(conn, argument),
            Verb::Type => self.set_type(argument),
            Verb::Mode => set_only(argument, b"S", "the mode S (stream)"),
            Verb::Stru => set_only(argument, b"F", "the structure F (file)"),
            Verb::Retr => self.retrieve(conn, argument).await?,
            Verb::Stor | Verb::Appe => self.store(conn, verb, argument).await?,
            Verb::Stou => self.store_unique(conn, argument).await?,
            Verb::Allo => self.allocate(argument),
            Verb::Rest => self.restart(argument),
            Verb::Rnfr => self.rename_from(argument).await,
            Verb::Rnto => self.rename_to(argument).await,
            Verb::Abor => {
                self.data = None;
                Reply::new(226, "Nothing is being transferred.")
            }
            Verb::Dele => self.delete(argument).await,
            Verb::Rmd => self.remove_folder(argument).await,
            Verb::Mkd => self.make_folder(argument).await,
            Verb::List | Verb::Nlst | Verb::Mlsd => self.list(conn, verb, argument).await?,
            Verb::Stat if argument.is_empty() => self.status(conn),
            Verb::Stat => self.list_here(conn, argument).await?,
            Verb::Site => self.site(conn, argument).await,
            Verb::Syst => Reply::new(215, "UNIX Type: L8"),
            Verb::Help => help(argument),
            Verb::Noop => Reply::new(200, "OK."),
            Verb::Feat => self.features(),
            Verb::Opts => self.options(argument),
            Verb::Size => self.size(argument).await,
            Verb::Mdtm => self.modified(argument).await,
            Verb::Mfmt => self.set_modified(argument).await,
            Verb::Mlst => self.facts_of(argument).await,
            Verb::Hash => self.hash(conn, argument).await?,
            Verb::Rang => self.set_range(argument),
            Verb::Avbl => self.available().await,
            Verb::Clnt => Reply::new(200, "Noted."),
            Verb::Csid => Reply::new(200, concat!("Name=polygate; Version=", env!("CARGO_PKG_VERSION"), ";")),
            Verb::Auth => self.begin_tls(conn, argument).await?,
            Verb::Pbsz => self.set_buffer(conn, argument),
            Verb::Prot => self.set_protection(conn, argument),
            // The control connection stays in TLS: what came after would be in the clear (RFC 4217, 12.3).
            Verb::Ccc => Reply::new(533, "The control connection stays in TLS."),
        })
    }

    /// Takes a reply to be sent.
    pub(super) fn say(&mut self, reply: &Reply) {
        if std::mem::take(&mut self.is_silent) {
            return;
        }
        self.counts.reply(reply.code);
        reply.write(&mut self.out);
    }

    /// Sends the replies that were taken.
    pub(super) async fn flush(&mut self, conn: &mut Conn) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        conn.write_all(&self.out).await?;
        self.out.clear();
        if self.out.capacity() > COLLECTED {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Sends text that belongs to a reply of many lines.
    pub(super) async fn send(&mut self, conn: &mut Conn, text: &[u8]) -> io::Result<()> {
        self.flush(conn).await?;
        conn.write_all(text).await
    }

    async fn next(&mut self, conn: &mut Conn) -> io::Result<Next> {
        let mut draining = std::pin::pin!(conn.draining());
        let mut killed = conn.killed();
        loop {
            if let Some(line) = self.queue.pop_front() {
                if self.out.len() > COLLECTED {
                    self.flush(conn).await?;
                }
                self.enter(conn, false);
                return Ok(Next::Line(line));
            }
            self.queue = VecDeque::new();
            self.flush(conn).await?;
            self.enter(conn, self.lines.is_within());
            if self.ended {
                return Ok(Next::End);
            }
            let chunk = tokio::select! {
                biased;
                reason = &mut killed => return Ok(Next::Killed(reason)),
                chunk = conn.read_chunk(CHUNK) => chunk?,
                () = &mut draining, if !self.lines.is_within() => return Ok(Next::Drained),
            };
            match chunk {
                Some(chunk) => self.take_all(conn, &chunk),
                None => self.ended = true,
            }
        }
    }

    /// Sets the clock: before a login one for all of it, then one for each command, else that of idleness.
    pub(super) fn enter(&self, conn: &Conn, within: bool) {
        let phase = if within || self.who.is_none() { Phase::Request } else { Phase::Idle };
        let now = conn.meter().phase().0;
        // A request's clock goes on where it runs already, and idleness begins anew with each command.
        if now != phase || phase == Phase::Idle {
            conn.enter(phase);
        }
    }

    /// Takes what came, and what stands behind urgent data in it, as that of ABOR does (RFC 959, 4.1.3).
    pub(super) fn take_all(&mut self, conn: &mut Conn, bytes: &[u8]) {
        self.take(bytes);
        while self.lines.is_within()
            && let Some(chunk) = conn.chunk_behind_urgent(CHUNK)
        {
            self.take(&chunk);
        }
    }

    /// Takes what came apart into lines.
    fn take(&mut self, mut bytes: &[u8]) {
        let longest = if self.who.is_some() { LONGEST_AFTER_LOGIN } else { LONGEST_BEFORE_LOGIN };
        while let Some(line) = self.lines.next(&mut bytes, longest) {
            self.queue.push_back(line);
        }
    }

    /// Whether something that came with the last command waits behind it.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty() || self.lines.is_within()
    }

    /// Notes that somebody could not log in.
    pub(super) fn login_failed(&mut self, why: LoginFailure) {
        self.counts.login_failed(why);
        self.failures += 1;
    }
}

/// What the client hears of its end.
fn farewell(reason: CloseReason) -> Reply {
    let why = match reason {
        CloseReason::Idle => "Nothing has come for too long",
        CloseReason::Request => "The command or login was not complete in time",
        CloseReason::Lifetime => "The session has lasted as long as it may",
        _ => "The session is closed",
    };
    Reply::new(421, format!("{why}; good-bye."))
}

/// Says in the connection list what was asked for last. A password is not said.
fn describe(conn: &Conn, command: Command<'_>) {
    let name = command.verb.name();
    let hides = matches!(command.verb, Verb::Pass | Verb::Site | Verb::Acct);
    match command.argument {
        b"" => conn.describe("command", name),
        _ if hides => conn.describe("command", name),
        argument => conn.describe("command", format!("{name} {}", String::from_utf8_lossy(argument))),
    }
}

/// MODE and STRU have one value each that anybody uses.
fn set_only(argument: &[u8], only: &[u8], name: &str) -> Reply {
    if argument.trim_ascii().eq_ignore_ascii_case(only) {
        return Reply::new(200, "OK.");
    }
    match argument.trim_ascii() {
        [letter] if letter.is_ascii_alphabetic() => Reply::new(504, format!("There is only {name}.")),
        _ => Reply::new(501, format!("Expected {name}.")),
    }
}

fn help(argument: &[u8]) -> Reply {
    let asked = argument.trim_ascii().to_ascii_uppercase();
    if !asked.is_empty() {
        let known = Verb::ALL.iter().find(|verb| verb.name().as_bytes() == asked);
        return match known {
            Some(verb) => Reply::new(214, format!("{} is served.", verb.name())),
            None => Reply::new(502, "There is no such command."),
        };
    }
    let rows = Verb::NAMES.chunks(10).map(|names| names.join(" ").into_bytes());
    Reply::lines(214, "The commands are:", rows, "End")
}
