//! What people see: text to stdout, coloured when it is a terminal that wants colours.

use crate::{config, error::Error};
use clap::builder::styling::{AnsiColor, Effects, Style};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

/// Writes a text to stdout as it is. A reader that has gone away is no error: `proviso … | head` is fine.
pub fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::system("writing to stdout")(error))
        }
        _ => Ok(()),
    }
}

/// Writes a line to stderr, for what is not the answer itself.
pub fn note(line: &str) {
    // Nobody is left to tell when this fails.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// How many entries of how many customers.
pub fn journals(entries: u64, customers: u64) -> String {
    format!("{} entries of {}", count(entries), plural(customers, "customer"))
}

/// What is being done and how far it is, on a terminal's stderr until it is finished and cleared.
pub fn spinner(doing: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(&format!("{{spinner}} {doing}: {{msg}}")) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// For stdout as it is: no colours in a pipe, nor where `NO_COLOR` is set.
    pub fn for_stdout() -> Self {
        Self { on: io::stdout().is_terminal() && config::variable("NO_COLOR").is_none() }
    }

    /// Never any.
    pub fn none() -> Self {
        Self { on: false }
    }

    /// Never any.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self::none()
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// What is well.
    pub fn good(self, text: &str) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    /// What is not.
    pub fn bad(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default(), text)
    }

    /// What matters less.
    pub fn faint(self, text: &str) -> String {
        self.with(Style::new().effects(Effects::DIMMED), text)
    }

    /// A heading.
    pub fn strong(self, text: &str) -> String {
        self.with(Style::new().effects(Effects::BOLD), text)
    }
}

/// A whole number with its thousands apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A noun in the number that it needs.
pub fn plural(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {noun}{s}", count(number))
}

/// Bytes in the unit that reads best.
pub fn bytes(number: u64) -> String {
    if number < 10_240 {
        format!("{} bytes", count(number))
    } else {
        format!("{} KiB", count(number.div_ceil(1024)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(
            (plural(1, "case"), plural(2_000, "case")),
            ("1 case".to_owned(), "2,000 cases".to_owned())
        );
        assert_eq!((bytes(512), bytes(22_528)), ("512 bytes".to_owned(), "22 KiB".to_owned()));
    }
}
