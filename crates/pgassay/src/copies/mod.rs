//! Copies of a server to try changes and writes on: made by a base backup or else by a dump, started on this machine
//! with the server's own parameters, and removed afterwards.

pub mod base_backup;
pub mod client_program;
pub mod database;
pub mod dump_restore;
pub mod on_copy;
pub mod parameters;
pub mod place;
pub mod roles;
pub mod space;

use crate::copies::base_backup::BaseBackup;
use crate::copies::dump_restore::{DumpPrograms, Dumping};
use crate::copies::parameters::CopyParameters;
use crate::copies::place::CopyPlace;
use crate::copies::space::Needed;
use crate::failure::{Exit, Failure};
use crate::target::Target;
use pgassay_model::connection::{ConnectionSettings, Host, SslMode};
use pgassay_model::snapshot::Snapshot;
use pgassay_postgres::Session;
use pgassay_testkit::{Installation, Postgres, PostgresOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Two running copies; dropped, they are stopped and removed.
pub struct Copies {
    /// The side that stays as it is.
    pub without: Copy,
    /// The side that changes are made on.
    pub with: Copy,
    /// How they were made, and where they differ from the server by that.
    pub notes: Vec<String>,
    /// Whether they were restored from a dump, which leaves the server's bloat behind.
    pub dumped: bool,
    // Dropped last, after the servers in it have stopped.
    _place: CopyPlace,
}

/// One running copy by itself; dropped, it is stopped and removed.
pub struct SingleCopy {
    /// The copy.
    pub copy: Copy,
    /// How it was made, and where it differs from the server by that.
    pub notes: Vec<String>,
    _place: CopyPlace,
}

/// One copy.
pub struct Copy {
    /// How it is reached, as the target is.
    pub target: Target,
    /// Its postmaster.
    pub postmaster: Option<u32>,
    _server: Postgres,
}

impl Copies {
    /// Makes and starts two copies of the server behind `session`. Refused before anything is written where
    /// the disk or the programs do not allow it.
    pub async fn make(
        target: &Target,
        session: &Session,
        snapshot: &Snapshot,
    ) -> Result<Copies, Failure> {
        let files = Files::make(target, session, snapshot, 2).await?;
        let second = files.place.path().join("b");
        target.progress.step("copying the copy's files");
        let (from, to) = (files.first.clone(), second.clone());
        let interrupt = target.interrupt.clone();
        blocking(move || {
            let mut copy = Command::new("cp");
            // Cloning blocks where the file system can.
            copy.args(["--archive", "--reflink=auto"]).args([&from, &to]);
            let ended = client_program::run(&mut copy, &interrupt)?;
            if ended.well {
                return Ok(());
            }
            Err(Failure::input(
                format!("copying {} failed: {}", from.display(), ended.last_words()),
                MORE_ROOM,
            ))
        })
        .await?;
        target.progress.step("starting the copies");
        let without = files.start(target, &files.first, "a-state").await?;
        let with = files.start(target, &second, "b-state").await?;
        let Files { notes, dumped, place, .. } = files;
        Ok(Copies { without, with, notes, dumped, _place: place })
    }
}

impl SingleCopy {
    /// Makes and starts one copy of the server behind `session`; refused as [`Copies::make`] refuses.
    pub async fn make(
        target: &Target,
        session: &Session,
        snapshot: &Snapshot,
    ) -> Result<SingleCopy, Failure> {
        let files = Files::make(target, session, snapshot, 1).await?;
        target.progress.step("starting the copy");
        let copy = files.start(target, &files.first, "a-state").await?;
        Ok(SingleCopy { copy, notes: files.notes, _place: files.place })
    }
}

impl Copy {
    fn new(target: &Target, server: Postgres, state: PathBuf) -> Copy {
        let reach = |user: &str| ConnectionSettings {
            host: Host::Unix(server.socket_directory().to_path_buf()),
            port: server.port(),
            user: user.to_owned(),
            password: None,
            database: target.server.database.clone(),
            ssl_mode: SslMode::Disable,
            ..target.server.clone()
        };
        Copy {
            target: Target {
                server: reach(&target.server.user),
                application: reach(&target.application.user),
                console: None,
                ini: None,
                pgbouncer_binary: None,
                postgres_bin: None,
                state,
                interrupt: target.interrupt.clone(),
                progress: target.progress.clone(),
            },
            postmaster: server.postmaster_pid().ok(),
            _server: server,
        }
    }
}

const MORE_ROOM: &str = "set TMPDIR to a directory with more room";
const NO_COPY: &str = "or go without copies (neither --rehearse nor --writes copy)";

/// The files of a first copy, with no server running on them.
struct Files {
    place: CopyPlace,
    /// Directory of the first copy, its data directory in `data`.
    first: PathBuf,
    bin: PathBuf,
    parameters: CopyParameters,
    notes: Vec<String>,
    dumped: bool,
}

impl Files {
    /// By a base backup where one can be made, else by a dump; both may be refused for want of room for `copies`.
    async fn make(
        target: &Target,
        session: &Session,
        snapshot: &Snapshot,
        copies: u64,
    ) -> Result<Files, Failure> {
        if session.pooled() {
            return Err(Failure::input(
                format!("{} is a pooler: a copy is made of the server itself", target.server),
                "pass the server's own DSN (measure: --direct DSN)",
            ));
        }
        let installation = installation(snapshot.server.version_num / 10_000)?;
        let place = CopyPlace::make(&target.progress)?;
        let parameters = parameters::of_source(snapshot, parameters::machine_memory(), copies);
        let mut files = Files {
            first: place.path().join("a"),
            place,
            bin: installation.bin_dir,
            parameters,
            notes: Vec::new(),
            dumped: false,
        };
        match files.by_base_backup(target, session, snapshot, copies).await? {
            Ok(()) => files.notes.extend(base_backup::unlogged(session).await),
            Err(why) => {
                target.progress.say(format!("no base backup ({why}): copying by a dump instead"));
                let dumped = files.by_dump(target, session, snapshot, copies, &why).await?;
                files
                    .notes
                    .push(format!("the copies were made by pg_dump, not by a base backup: {why}"));
                files.notes.extend(dumped);
                files.dumped = true;
            }
        }
        files.notes.append(&mut files.parameters.notes);
        Ok(files)
    }

    async fn by_base_backup(
        &self,
        target: &Target,
        session: &Session,
        snapshot: &Snapshot,
        copies: u64,
    ) -> Result<Result<(), String>, Failure> {
        let place = self.place.path();
        let backup = match BaseBackup::possible(session, snapshot, &self.bin, place, copies).await?
        {
            Ok(backup) => backup,
            Err(why) => return Ok(Err(why)),
        };
        target.progress.step(
            "copying the server by pg_basebackup (a checkpoint at once; its rate of reading is not bounded)",
        );
        let (server, first) = (target.server.clone(), self.first.clone());
        let interrupt = target.interrupt.clone();
        blocking(move || {
            std::fs::create_dir_all(&first).map_err(cannot("create", &first))?;
            let made = backup.make(&server, &first.join("data"), &interrupt)?;
            if made.is_err() {
                std::fs::remove_dir_all(&first).map_err(cannot("remove", &first))?;
            }
            Ok(made)
        })
        .await
    }

    async fn by_dump(
        &mut self,
        target: &Target,
        session: &Session,
        snapshot: &Snapshot,
        copies: u64,
        why_no_backup: &str,
    ) -> Result<Vec<String>, Failure> {
        let major = snapshot.server.version_num / 10_000;
        let programs = DumpPrograms::find(major, &self.bin).ok_or_else(|| {
            Failure::new(
                Exit::Missing,
                format!(
                    "no copy can be made by a base backup ({why_no_backup}), and for a dump there are no pg_dump and \
                     pg_restore of PostgreSQL {major} or later on this machine"
                ),
                format!(
                    "install them (Debian/Ubuntu: apt install postgresql-client-{major}), or let a base backup \
                     through: a role with REPLICATION, a replication line in pg_hba.conf; {NO_COPY}"
                ),
            )
        })?;
        let needed = Needed::new(snapshot.server.database_size, snapshot, copies);
        let free = space::free(self.place.path())?;
        if let Some(too_much) = needed.beyond(free, self.place.path()) {
            return Err(Failure::input(too_much, format!("{MORE_ROOM}, {NO_COPY}")));
        }
        let dumping =
            Dumping { target, snapshot, session, server_bin: &self.bin, programs: &programs };
        dumping.make(&self.first, &mut self.parameters).await
    }

    /// Starts a server on the copy in `place`.
    async fn start(&self, target: &Target, place: &Path, state: &str) -> Result<Copy, Failure> {
        if target.interrupt.requested() {
            return Err(client_program::interrupted());
        }
        let (place, bin) = (place.to_path_buf(), self.bin.clone());
        let settings = self.parameters.lines.clone();
        let server = blocking(move || start(place, bin, settings)).await?;
        Ok(Copy::new(target, server, self.place.path().join(state)))
    }
}

/// A server installation of the source's own major version: another could not read its files, and plans otherwise.
fn installation(major: u32) -> Result<Installation, Failure> {
    let usual = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
    [pgassay_testkit::find_postgres(Some(&usual)), pgassay_testkit::find_postgres(None)]
        .into_iter()
        .flatten()
        .find(|found| found.major == major)
        .ok_or_else(|| {
            Failure::new(
                Exit::Missing,
                format!("no PostgreSQL {major} on this machine to start a copy with"),
                format!("install it (Debian/Ubuntu: apt install postgresql-{major}), {NO_COPY}"),
            )
        })
}

fn start(
    place: PathBuf,
    bin: PathBuf,
    settings: Vec<(String, String)>,
) -> Result<Postgres, Failure> {
    let data = place.join("data");
    // The source's files may lie elsewhere, or name its archive and standbys.
    for (name, text) in [
        ("postgresql.conf", ""),
        ("postgresql.auto.conf", ""),
        ("pg_hba.conf", "local all all trust\n"),
        ("pg_ident.conf", ""),
    ] {
        let file = data.join(name);
        std::fs::write(&file, text).map_err(cannot("write", &file))?;
    }
    let started = pgassay_testkit::give_to_server(&place).and_then(|()| {
        Postgres::start(PostgresOptions {
            bin_dir: Some(bin),
            settings,
            durable: true,
            directory: Some(place),
            stop_with_process: true,
        })
    });
    started.map_err(|error| {
        Failure::new(
            Exit::Missing,
            format!("a copy of the server does not start: {error}"),
            format!("a copy needs what the server needs: shared_preload_libraries, memory, locales; {NO_COPY}"),
        )
    })
}

fn cannot<'a>(what: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> Failure + 'a {
    move |error| Failure::input(format!("cannot {what} {}: {error}", path.display()), MORE_ROOM)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Failure::new(Exit::Missing, format!("making the copies stopped: {error}"), "report this")
    })?
}
