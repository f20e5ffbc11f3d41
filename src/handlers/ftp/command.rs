//! The table of the verbs, and a line taken apart into verb and argument.

/// Whether a verb has an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// It has none; what is there all the same is an error (501).
    None,
    /// It may have one.
    Optional,
    /// It must.
    Needed,
}

macro_rules! verbs {
    ($($variant:ident $name:literal $($alias:literal)? $argument:ident $login:literal $during:literal,)+) => {
        /// A verb that is known. Its documentation is the RFC's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are those of the protocol")]
        pub enum Verb { $($variant,)+ }

        impl Verb {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Verb] = &[$(Verb::$variant,)+];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Verb::$variant => $name,)+ }
            }

            /// Whether it has an argument.
            pub fn argument(self) -> Argument {
                match self { $(Verb::$variant => Argument::$argument,)+ }
            }

            /// Whether it is for those who are logged in.
            pub fn needs_login(self) -> bool {
                match self { $(Verb::$variant => $login,)+ }
            }

            /// Whether it is acted on at once while a transfer runs (RFC 959, 4.1.3); others wait for its end.
            pub fn during_transfer(self) -> bool {
                match self { $(Verb::$variant => $during,)+ }
            }

            /// By name or by its older name (RFC 1123, 4.1.3.1), in upper case.
            fn of(name: &[u8]) -> Option<Verb> {
                $(if name == $name.as_bytes() $(|| name == $alias.as_bytes())? { return Some(Verb::$variant); })+
                None
            }
        }
    };
}

// Name, older name, argument, needs a login, at once during a transfer.
verbs! {
    User "USER" Needed false false,
    Pass "PASS" Optional false false,
    Acct "ACCT" Needed false false,
    Rein "REIN" None false false,
    Quit "QUIT" None false true,
    Cwd "CWD" "XCWD" Needed true false,
    Cdup "CDUP" "XCUP" None true false,
    Pwd "PWD" "XPWD" None true false,
    Port "PORT" Needed true false,
    Pasv "PASV" None true false,
    Eprt "EPRT" Needed true false,
    Epsv "EPSV" Optional true false,
    Type "TYPE" Needed true false,
    Mode "MODE" Needed true false,
    Stru "STRU" Needed true false,
    Retr "RETR" Needed true false,
    Stor "STOR" Needed true false,
    Stou "STOU" Optional true false,
    Appe "APPE" Needed true false,
    Allo "ALLO" Needed true false,
    Rest "REST" Needed true false,
    Rnfr "RNFR" Needed true false,
    Rnto "RNTO" Needed true false,
    Abor "ABOR" None true true,
    Dele "DELE" Needed true false,
    Rmd "RMD" "XRMD" Needed true false,
    Mkd "MKD" "XMKD" Needed true false,
    List "LIST" Optional true false,
    Nlst "NLST" Optional true false,
    Stat "STAT" Optional true true,
    Site "SITE" Needed false false,
    Syst "SYST" None false false,
    Help "HELP" Optional false false,
    Noop "NOOP" None false true,
    Feat "FEAT" None false false,
    Opts "OPTS" Needed false false,
    Size "SIZE" Needed true false,
    Mdtm "MDTM" Needed true false,
    Mfmt "MFMT" Needed true false,
    Mlst "MLST" Optional true false,
    Mlsd "MLSD" Optional true false,
    Hash "HASH" Needed true false,
    Rang "RANG" Needed true false,
    Avbl "AVBL" Optional true false,
    Host "HOST" Needed false false,
    Clnt "CLNT" Needed false false,
    Csid "CSID" Needed false false,
    Auth "AUTH" Needed false false,
    Pbsz "PBSZ" Needed false false,
    Prot "PROT" Needed false false,
    Ccc "CCC" None false false,
}

/// A line that is a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// What to do.
    pub verb: Verb,
    /// With what: what is behind the one space, byte for byte, spaces too. Empty if there is nothing.
    pub argument: &'a [u8],
}

/// Why a line is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No verb that is known: 500.
    Unknown,
    /// An argument too many or too few: 501.
    Arguments(Verb),
}

impl Refused {
    /// The code of its reply (RFC 959, 4.2.1).
    pub fn code(self) -> u16 {
        match self {
            Refused::Unknown => 500,
            Refused::Arguments(_) => 501,
        }
    }
}

impl<'a> Command<'a> {
    /// Takes a line apart. Upper and lower case of the verb are the same.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn parse(line: &'a [u8]) -> Result<Self, Refused> {
        let space = line.iter().position(|byte| *byte == b' ');
        let (name, argument) = match space {
            None => (line, &line[line.len()..]),
            Some(at) => (&line[..at], &line[at + 1..]),
        };
        // No verb is longer, so nothing is copied that need not be.
        if name.len() > 4 {
            return Err(Refused::Unknown);
        }
        let verb = Verb::of(&name.to_ascii_uppercase()).ok_or(Refused::Unknown)?;
        match verb.argument() {
            // White space alone is no argument: some clients send it.
            Argument::None if argument.trim_ascii().is_empty() => Ok(Command { verb, argument: &[] }),
            Argument::None => Err(Refused::Arguments(verb)),
            Argument::Needed if argument.is_empty() => Err(Refused::Arguments(verb)),
            Argument::Needed | Argument::Optional => Ok(Command { verb, argument }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &[u8], expected: Result<(Verb, &[u8]), u16>) {
        let found = Command::parse(line);
        assert_eq!(found.map(|found| (found.verb, found.argument)).map_err(Refused::code), expected);
    }

    #[test]
    fn a_line_is_a_verb_and_the_rest_as_it_is() {
        check(b"NOOP", Ok((Verb::Noop, b"")));
        check(b"noop  ", Ok((Verb::Noop, b"")));
        check(b"Retr  two  spaces \xff", Ok((Verb::Retr, b" two  spaces \xff")));
        check(b"MLSD ", Ok((Verb::Mlsd, b"")));
        check(b"XMKD a", Ok((Verb::Mkd, b"a")));
        check(b"PASS", Ok((Verb::Pass, b"")));
    }

    #[test]
    fn what_is_no_command_says_which_way() {
        for line in [&b""[..], b" NOOP", b"NOPE", b"NOOPS", b"\xff\xff", b"RETR\tx"] {
            check(line, Err(500));
        }
        for line in [&b"RETR"[..], b"RETR ", b"NOOP x", b"USER"] {
            check(line, Err(501));
        }
    }

    #[test]
    fn the_table_has_every_verb_once_and_finds_it() {
        for (number, verb) in Verb::ALL.iter().enumerate() {
            assert_eq!((*verb as usize, Verb::of(verb.name().as_bytes())), (number, Some(*verb)));
        }
        let at_once: Vec<_> = Verb::ALL.iter().filter(|verb| verb.during_transfer()).collect();
        assert_eq!(at_once, [&Verb::Quit, &Verb::Abor, &Verb::Stat, &Verb::Noop]);
    }
}
