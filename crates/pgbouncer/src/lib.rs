//! PgBouncer: its console, its statistics, its configuration files, and a rehearsal of a new configuration.
//!
//! Nothing here decides what to change. Only [`files`] and the console's commands touch a running PgBouncer's
//! things, and only when called by a change that is in the journal. PgBouncer 1.18 and later.

mod account;
mod console;
mod edits;
mod error;
pub mod files;
mod ini;
mod read_back;
mod rehearse;
mod snapshot;
mod totals;
mod userlist;

pub use account::Account;
pub use console::Console;
pub use edits::{FileEdit, edits};
pub use error::PgBouncerError;
pub use files::edit_file_safely;
pub use ini::{Ini, Setting};
pub use read_back::{Difference, differences, read_back};
pub use rehearse::{Candidate, rehearse};
pub use snapshot::{snapshot, working_directory};
pub use totals::window;
pub use userlist::Userlist;
