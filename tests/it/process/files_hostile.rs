//! `put`, `get` and `ls` against servers that lie, stop or send what no server should.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::{Ended, Folder, end};

/// A server of FTP that says `answers` for commands beginning with a word, and `200` for others; a `150` sends
/// `data` over the data connection and then says `226`.
struct Liar {
    url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Liar {
    fn start(answers: &'static [(&'static str, &'static str)], data: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ftp://ann@{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            serve(&mut stream, answers, data)
        });
        Liar { url, thread }
    }

    /// Runs a command against it, and gives what the server heard, too.
    #[track_caller]
    fn hears(self, folder: &Folder, words: &[&str]) -> (Ended, Vec<String>) {
        let words: Vec<String> = words.iter().map(|word| word.replace("URL", &self.url)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = folder.command(&[&words[..], &["--timeout=300ms"]].concat());
        command.env("POLYGATE_PASSWORD", "sesame");
        (end(command), self.thread.join().unwrap())
    }
}

fn serve(stream: &mut TcpStream, answers: &[(&str, &str)], data: &str) -> Vec<String> {
    let answer = |word: &str, usual: &str| {
        let own = answers.iter().find(|(verb, _)| *verb == word);
        own.map_or(usual, |(_, answer)| answer).to_owned()
    };
    let passive = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = passive.local_addr().unwrap().port();
    let mut heard = Vec::new();
    let reader = BufReader::new(stream.try_clone().unwrap());
    let _ = write!(stream, "{}\r\n", answer("", "220 hello"));
    for line in reader.lines().map_while(Result::ok) {
        let word = line.split(' ').next().unwrap().to_owned();
        heard.push(line);
        let reply = match word.as_str() {
            "USER" => answer("USER", "331 and?"),
            "PASS" => answer("PASS", "230 in"),
            "SIZE" => answer("SIZE", "213 5"),
            "EPSV" => answer("EPSV", &format!("229 (|||{port}|)")),
            "RETR" | "MLSD" => answer(&word, "150 it comes"),
            other => answer(other, "200 fine"),
        };
        let _ = write!(stream, "{reply}\r\n");
        if reply.starts_with("150") {
            let (mut connection, _) = passive.accept().unwrap();
            let _ = connection.write_all(data.as_bytes());
            drop(connection);
            let _ = write!(stream, "{}\r\n", answer("end", "226 done"));
        }
    }
    heard
}

#[track_caller]
fn get(answers: &'static [(&'static str, &'static str)], data: &'static str, part: &str) {
    let folder = Folder::new();
    let (ended, heard) = Liar::start(answers, data).hears(&folder, &["get", "URL/a.txt"]);
    assert!(ended.code != 0 && ended.stderr.contains(part), "{ended:?}\n{heard:?}");
    assert!(!ended.stderr.contains("sesame") && !ended.stderr.contains('\x1b'), "{ended:?}");
}

#[test]
fn replies_that_are_none_end_it_with_a_word() {
    get(&[("", "hello")], "", "does not speak FTP: it said \"hello\"");
    get(&[("", "421 full \x1b[2J")], "", "refuses the connection: 421 full \\u{1b}[2J");
    get(&[("USER", "530 no")], "", "refuses the login of ann: 530 no");
    get(&[("PASS", "530 not you")], "", "refuses the login of ann: 530");
    get(&[("EPSV", "229 (|||0|)")], "", "refuses EPSV: 229");
    get(&[("EPSV", "500 what?")], "", "refuses EPSV: 500 what?");
    get(&[("RETR", "550 none")], "", "refuses RETR a.txt: 550 none");
    // The start of a reply of several lines, and nothing behind it.
    get(&[("TYPE", "200-fine")], "", "broke: no answer in time");
}

#[test]
fn a_transfer_that_is_too_short_or_too_long_is_a_failure() {
    get(&[], "hell", "the transfer was cut: --continue goes on with it");
    get(&[], "hello!", "the transfer was cut");
    get(&[("end", "426 cut")], "hello", "refuses RETR a.txt: 426 cut");
}

#[test]
fn what_the_server_calls_files_is_shown_and_never_acted_on() {
    let folder = Folder::new();
    let listing = "type=file;size=5;modify=20260101000000; ../../evil\r\n\
                   type=file;size=x; \x1b[2Jred\r\nnonsense\r\n type=dir;\r\n";
    let (ended, _) = Liar::start(&[], listing).hears(&folder, &["ls", "URL/"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert!(ended.stdout.contains("../../evil") && ended.stdout.contains("\\u{1b}[2Jred"), "{ended:?}");
    assert!(!ended.stdout.contains('\x1b'));
}

#[test]
fn a_name_is_kept_below_the_folder_and_a_line_end_never_sent() {
    let folder = Folder::new();
    // The file here is named by the last part of the path.
    let (ended, heard) = Liar::start(&[], "hello").hears(&folder, &["get", "URL/..%2f..%2fa%20b.txt"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{heard:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join("a b.txt")).unwrap(), "hello");
    assert!(heard.contains(&"RETR ../../a b.txt".to_owned()), "{heard:?}");
    for url in ["ftp://ann@h/a%0d%0aDELE%20b", "ftp://ann%0aDELE@h/a"] {
        assert_eq!(folder.run(&["get", url]).code, 64, "{url}");
    }
    // A path that ends in the parent has no name for the file here.
    for url in ["ftp://127.0.0.1/..", "ftp://127.0.0.1/a/.."] {
        assert_eq!(folder.run(&["get", url]).code, 64, "{url}");
    }
}
