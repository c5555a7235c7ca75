//! The host that runs the server, when it is this one: found by the session's own backend process, so that
//! a forwarded port or a container next door is not taken for it. Linux only; elsewhere nothing is claimed.

use crate::snapshot::Backend;
use nix::sys::stat::{major, minor};
use nix::sys::statvfs::statvfs;
use pgassay_model::snapshot::HostFacts;
use pgassay_model::units::Bytes;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Facts of this host, if the backend is a process of it.
pub(crate) fn observe(backend: &Backend, data_directory: Option<&str>) -> Option<HostFacts> {
    let postmaster = postmaster(Path::new("/proc"), backend)?;
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let value = |name: &str| meminfo_value(&meminfo, name).unwrap_or(0);
    let physical = value("MemTotal");
    let limit = memory_limit(postmaster).unwrap_or(u64::MAX);
    let memory = physical.min(limit);
    // The postmaster works in its data directory (`ChangeToDataDir` in miscinit.c).
    let data_directory = data_directory
        .map(PathBuf::from)
        .or_else(|| fs::read_link(format!("/proc/{postmaster}/cwd")).ok());
    Some(HostFacts {
        memory: Bytes(memory),
        available: Bytes(value("MemAvailable").min(memory)),
        page_cache: Bytes(value("Cached") + value("Buffers")),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        rotational: data_directory.as_deref().and_then(rotational),
        postmaster_pid: Some(postmaster),
        disk_free: data_directory.as_deref().and_then(disk_free),
    })
}

/// Parent of the backend. That the backend is ours is told by the title that PostgreSQL gives a process,
/// `postgres: user database host activity`, after `cluster_name: ` where one is set: a process of the same
/// number in another namespace has another.
fn postmaster(proc: &Path, backend: &Backend) -> Option<u32> {
    let backend_directory = proc.join(backend.pid.to_string());
    let title = fs::read(backend_directory.join("cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title).replace('\0', " ");
    let ours = title.starts_with("postgres: ")
        && title.contains(&format!(" {} {} ", backend.user, backend.database));
    if !ours {
        return None;
    }
    let stat = fs::read_to_string(backend_directory.join("stat")).ok()?;
    let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    let name = fs::read_to_string(proc.join(parent.to_string()).join("comm")).ok()?;
    matches!(name.trim(), "postgres" | "postmaster").then_some(parent)
}

/// A value of /proc/meminfo in bytes.
pub(crate) fn meminfo_value(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// The smallest memory limit of the control groups that the process is in: `memory.max` of each level in
/// version 2, `memory.limit_in_bytes` in version 1 (kernel documentation, admin-guide/cgroup-v2.rst).
fn memory_limit(pid: u32) -> Option<u64> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let (root, file) = if controllers.is_empty() {
                ("/sys/fs/cgroup", "memory.max")
            } else if controllers.split(',').any(|name| name == "memory") {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            } else {
                return None;
            };
            let path = path.trim_start_matches('/');
            Path::new(path)
                .ancestors()
                .filter(|level| !level.starts_with(".."))
                .filter_map(|level| limit(&Path::new(root).join(level).join(file)))
                .min()
        })
        .min()
}

/// `max`, or nearly 2⁶³ in version 1, means none.
fn limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|limit| *limit < 1 << 62)
}

/// `queue/rotational` of the disk that holds a directory; a partition's disk is its parent. Unknown for
/// file systems without a device of their own (overlay, network, btrfs).
fn rotational(directory: &Path) -> Option<bool> {
    let device = fs::metadata(directory).ok()?.dev();
    let link = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let block = fs::canonicalize(link).ok()?;
    let flag = [Some(block.as_path()), block.parent()]
        .into_iter()
        .flatten()
        .find_map(|device| fs::read_to_string(device.join("queue/rotational")).ok())?;
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    spins(&flag, &processor)
}

/// Disks of virtual machines say 1 whatever lies below, since that is their drivers' default: there only 0
/// tells something.
fn spins(flag: &str, processor: &str) -> Option<bool> {
    let virtual_machine = processor
        .lines()
        .filter_map(|line| line.strip_prefix("flags"))
        .any(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"));
    match flag.trim() {
        "0" => Some(false),
        "1" if !virtual_machine => Some(true),
        _ => None,
    }
}

fn disk_free(directory: &Path) -> Option<Bytes> {
    let stat = statvfs(directory).ok()?;
    Some(Bytes(stat.blocks_available() * stat.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_disk_that_claims_to_spin_is_not_believed() {
        let (real, virtual_machine) = ("flags\t\t: fpu sse", "flags\t\t: fpu hypervisor sse");
        assert_eq!(spins("1\n", real), Some(true));
        assert_eq!(spins("1\n", virtual_machine), None);
        assert_eq!(spins("0\n", virtual_machine), Some(false));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let meminfo =
            "MemTotal:       24684092 kB\nMemAvailable:   100 kB\nSwapCached: 7 kB\nCached: 5 kB\n";
        assert_eq!(meminfo_value(meminfo, "MemAvailable"), Some(102_400));
        assert_eq!(meminfo_value(meminfo, "Cached"), Some(5_120));
        assert_eq!(meminfo_value(meminfo, "Buffers"), None);
    }
}
