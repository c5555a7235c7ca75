//! Whether copies fit the disk, asked before anything is written.

use crate::failure::Failure;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use std::path::Path;

/// Disk that is to stay free beside the copies.
const KEPT_FREE: Bytes = Bytes(1 << 30);
/// `max_wal_size` where it is not known: the default.
const WAL: Bytes = Bytes(1 << 30);

/// What a set of copies takes.
#[derive(Debug, Clone, Copy)]
pub struct Needed {
    /// What one copy holds: `pg_database_size`, of one database or of all.
    pub data: Bytes,
    /// What its pg_wal may grow to: `max_wal_size`, a soft limit, which a copy takes over from the server
    /// (manual, "WAL Configuration").
    pub wal: Bytes,
    /// How many copies.
    pub copies: u64,
}

impl Needed {
    /// For copies that hold `data` each, of the server in `snapshot`.
    pub fn new(data: Bytes, snapshot: &Snapshot, copies: u64) -> Needed {
        let wal = snapshot.parameter("max_wal_size").and_then(|parameter| parameter.bytes());
        Needed { data, wal: wal.unwrap_or(WAL), copies }
    }

    fn bytes(&self) -> u64 {
        (self.data.0.saturating_add(self.wal.0))
            .saturating_mul(self.copies)
            .saturating_add(KEPT_FREE.0)
    }

    /// Nothing where it fits into `free`; else the figures.
    pub fn beyond(&self, free: Bytes, place: &Path) -> Option<String> {
        (free.0 < self.bytes()).then(|| {
            format!(
                "{} of the data take about {} ({} of data and up to {} of WAL each, {KEPT_FREE} to stay free) and \
                 {free} are free in {}",
                if self.copies == 1 { "a copy".to_owned() } else { format!("{} copies", self.copies) },
                Bytes(self.bytes()),
                self.data,
                self.wal,
                place.display(),
            )
        })
    }
}

/// Bytes free in `place` for this account.
pub fn free(place: &Path) -> Result<Bytes, Failure> {
    nix::sys::statvfs::statvfs(place)
        .map(|space| Bytes(space.blocks_available() * space.fragment_size()))
        .map_err(|error| Failure::input(format!("{}: {error}", place.display()), "set TMPDIR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_do_not_fit_are_refused_with_the_figures() {
        let needed = Needed { data: Bytes(10 << 30), wal: Bytes(1 << 30), copies: 2 };
        let place = Path::new("/tmp");
        assert_eq!(needed.beyond(Bytes(23 << 30), place), None);
        let said = needed.beyond(Bytes((23 << 30) - 1), place).unwrap_or_default();
        for figure in ["2 copies", "23", "10", "/tmp"] {
            assert!(said.contains(figure), "{said}");
        }
    }

    #[test]
    fn one_copy_takes_half_of_it() {
        let needed = Needed { data: Bytes(10 << 30), wal: Bytes(1 << 30), copies: 1 };
        assert_eq!(needed.beyond(Bytes(12 << 30), Path::new("/tmp")), None);
    }
}
