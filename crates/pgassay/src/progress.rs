//! Progress on standard error: a bar on a terminal, lines otherwise, nothing when asked to be quiet.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A line on standard error. Where nobody reads it any more (`2>&1 | head`), the work goes on all the same:
/// `eprintln!` would panic there, in the middle of a change.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Where progress is shown; clones share one bar.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    quiet: bool,
    bar: Option<ProgressBar>,
    began: Instant,
    step: Mutex<String>,
}

impl Progress {
    /// A bar when standard error is a terminal, lines otherwise.
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(1000);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {elapsed}")
            {
                bar.set_style(style);
            }
            bar
        });
        Progress(Arc::new(Inner {
            quiet,
            bar,
            began: Instant::now(),
            step: Mutex::new(String::new()),
        }))
    }

    /// Begins a step.
    pub fn step(&self, what: impl Into<String>) {
        let what = what.into();
        if let Ok(mut step) = self.0.step.lock() {
            step.clone_from(&what);
        }
        match &self.0.bar {
            _ if self.0.quiet => {}
            Some(bar) => {
                bar.set_position(0);
                bar.set_message(what);
            }
            None => tell(&format!("[{:6.1} s] {what}", self.0.began.elapsed().as_secs_f64())),
        }
    }

    /// Says something that stays on the screen.
    pub fn say(&self, what: impl AsRef<str>) {
        match &self.0.bar {
            _ if self.0.quiet => {}
            Some(bar) => bar.println(what.as_ref()),
            None => tell(&format!("           {}", what.as_ref())),
        }
    }

    /// How far the step is, 0–1.
    pub fn at(&self, share: f64) {
        if let Some(bar) = &self.0.bar {
            bar.set_position((share.clamp(0.0, 1.0) * 1000.0) as u64);
        }
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        if let Some(bar) = &self.0.bar {
            bar.finish_and_clear();
        }
    }
}
