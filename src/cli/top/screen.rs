//! The loop: keys, signals and news of the gateway come in, the screen goes out. The terminal is given back as it was
//! on every way out, a panic included.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::backend::Backend as _;
use ratatui::crossterm::event::{self, KeyEvent, KeyEventKind};
use ratatui::crossterm::style::force_color_output;
use rustix::process::{Signal, getpid, kill_process};

use super::model::{Action, Model};
use super::source::{News, Order, Source};
use super::view::{Scroll, Theme, draw};
use crate::cli::exit::{Exit, Failure};
use crate::cli::watch;

enum Event {
    Key(KeyEvent),
    /// The screen has another size.
    Resized,
    News(News),
    /// A signal, or a terminal that has gone.
    End,
}

/// The terminal while it is ours.
struct Screen(DefaultTerminal);

impl Screen {
    /// A panic gives the terminal back before it is told of.
    fn enter() -> io::Result<Self> {
        ratatui::try_init().map(Screen)
    }

    /// Has all of it drawn anew. The terminal's own `clear` asks where the cursor is, and waits for an answer that the
    /// thread that reads keys takes away.
    fn clear(&mut self) -> io::Result<()> {
        self.0.backend_mut().clear()?;
        self.0.swap_buffers();
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody to tell where this fails.
        let _ = ratatui::try_restore();
    }
}

/// Shows it until somebody quits.
pub(super) fn show(
    source: Source,
    mut model: Model,
    interval: Duration,
    theme: Theme,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Failure, format!("cannot use the terminal: {error}"));
    let (events, heard) = mpsc::channel();
    let (orders, ordered) = mpsc::channel();
    let signalled = events.clone();
    watch::on_end_signal(move || drop(signalled.send(Event::End))).map_err(failed)?;
    force_color_output(theme.color);
    let mut screen = Screen::enter().map_err(failed)?;
    read_keys(events.clone());
    let sort = model.sort;
    thread::spawn(move || {
        source.run(interval, sort, &ordered, |news| events.send(Event::News(news)).is_ok())
    });

    let mut scroll = Scroll::default();
    loop {
        screen.0.draw(|frame| draw(frame, &model, &mut scroll, theme)).map_err(failed)?;
        // Its senders live as long as the program.
        let Ok(event) = heard.recv() else { return Ok(()) };
        let sorted = model.sort;
        let action = match event {
            Event::Key(key) => model.key(key),
            Event::Resized => None,
            Event::News(News::Taken(snapshot)) => {
                model.take(*snapshot);
                None
            }
            Event::News(News::Lost(why)) => {
                model.lose(why);
                None
            }
            Event::News(News::Said(said)) => {
                model.message = Some(said);
                None
            }
            Event::End => return Ok(()),
        };
        // The thread that takes orders lives as long as this channel.
        if model.sort.order() != sorted.order() {
            let _ = orders.send(Order::Sort(model.sort));
        }
        match action {
            None => {}
            Some(Action::Quit) => return Ok(()),
            Some(Action::Redraw) => screen.clear().map_err(failed)?,
            Some(Action::Ask(request)) => {
                let _ = orders.send(Order::Do(request));
            }
            Some(Action::Suspend) => {
                drop(screen);
                kill_process(getpid(), Signal::TSTP).map_err(|error| failed(error.into()))?;
                screen = Screen::enter().map_err(failed)?;
                screen.clear().map_err(failed)?;
            }
        }
    }
}

fn read_keys(events: Sender<Event>) {
    thread::spawn(move || {
        loop {
            let event = match event::read() {
                Ok(event::Event::Key(key)) if key.kind != KeyEventKind::Release => Event::Key(key),
                Ok(event::Event::Resize(..)) => Event::Resized,
                Ok(_) => continue,
                Err(_) => Event::End,
            };
            let ends = matches!(event, Event::End);
            if events.send(event).is_err() || ends {
                return;
            }
        }
    });
}
