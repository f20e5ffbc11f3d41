//! The table of the verbs, and a line taken apart into verb and argument.

/// Whether a verb has an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    /// It has none; what is there all the same is an error (501).
    None,
    /// It may have one.
    Optional,
    /// It must.
    Needed,
}

macro_rules! verbs {
    ($($variant:ident $name:literal $($alias:literal)? $argument:ident $login:literal,)+) => {
        /// A verb that is known. Its documentation is the RFC's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are those of the protocol")]
        pub(super) enum Verb { $($variant,)+ }

        impl Verb {
            /// All of them, in the order of their numbers.
            pub(super) const ALL: &'static [Verb] = &[$(Verb::$variant,)+];

            /// Their names, in that order.
            pub(super) const NAMES: &'static [&'static str] = &[$($name,)+];

            /// Its name.
            pub(super) fn name(self) -> &'static str {
                match self { $(Verb::$variant => $name,)+ }
            }

            /// Whether it has an argument.
            pub(super) fn argument(self) -> Argument {
                match self { $(Verb::$variant => Argument::$argument,)+ }
            }

            /// Whether it is for those who are logged in.
            pub(super) fn needs_login(self) -> bool {
                match self { $(Verb::$variant => $login,)+ }
            }

            /// By name or by its older name (RFC 1123, 4.1.3.1), in upper case.
            fn of(name: &[u8]) -> Option<Verb> {
                $(if name == $name.as_bytes() $(|| name == $alias.as_bytes())? { return Some(Verb::$variant); })+
                None
            }
        }
    };
}

// Name, older name, argument, needs a login.
verbs! {
    User "USER" Needed false,
    Pass "PASS" Optional false,
    Acct "ACCT" Needed false,
    Rein "REIN" None false,
    Quit "QUIT" None false,
    Cwd "CWD" "XCWD" Needed true,
    Cdup "CDUP" "XCUP" None true,
    Pwd "PWD" "XPWD" None true,
    Port "PORT" Needed true,
    Pasv "PASV" None true,
    Eprt "EPRT" Needed true,
    Epsv "EPSV" Optional true,
    Type "TYPE" Needed true,
    Mode "MODE" Needed true,
    Stru "STRU" Needed true,
    Retr "RETR" Needed true,
    Stor "STOR" Needed true,
    Stou "STOU" Optional true,
    Appe "APPE" Needed true,
    Allo "ALLO" Needed true,
    Rest "REST" Needed true,
    Rnfr "RNFR" Needed true,
    Rnto "RNTO" Needed true,
    Abor "ABOR" None true,
    Dele "DELE" Needed true,
    Rmd "RMD" "XRMD" Needed true,
    Mkd "MKD" "XMKD" Needed true,
    List "LIST" Optional true,
    Nlst "NLST" Optional true,
    Stat "STAT" Optional true,
    Site "SITE" Needed false,
    Syst "SYST" None false,
    Help "HELP" Optional false,
    Noop "NOOP" None false,
    Feat "FEAT" None false,
    Opts "OPTS" Needed false,
    Size "SIZE" Needed true,
    Mdtm "MDTM" Needed true,
    Mfmt "MFMT" Needed true,
    Mlst "MLST" Optional true,
    Mlsd "MLSD" Optional true,
    Hash "HASH" Needed true,
    Rang "RANG" Needed true,
    Avbl "AVBL" Optional true,
    Host "HOST" Needed false,
    Clnt "CLNT" Needed false,
    Csid "CSID" Needed false,
    Auth "AUTH" Needed false,
    Pbsz "PBSZ" Needed false,
    Prot "PROT" Needed false,
    Ccc "CCC" None false,
}

/// A line that is a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command<'a> {
    /// What to do.
    pub(super) verb: Verb,
    /// With what: what is behind the one space, byte for byte, spaces too. Empty if there is nothing.
    pub(super) argument: &'a [u8],
}

/// Why a line is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// No verb that is known: 500.
    Unknown,
    /// An argument too many or too few: 501.
    Arguments(Verb),
}

impl<'a> Command<'a> {
    /// Takes a line apart. Upper and lower case of the verb are the same.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Refused> {
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
        let found = Command::parse(line).map(|found| (found.verb, found.argument));
        let code = |refused| if refused == Refused::Unknown { 500 } else { 501 };
        assert_eq!(found.map_err(code), expected);
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
    }
}
