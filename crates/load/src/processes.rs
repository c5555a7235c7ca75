//! CPU time of a server's processes, from /proc.

use nix::sys::resource::{UsageWho, getrusage};
use std::collections::HashMap;

/// CPU of one process, in ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Process {
    parent: u32,
    /// `utime` and `stime`.
    own: u64,
    /// `cutime` and `cstime`: of the children it has waited for, and of theirs.
    reaped: u64,
}

/// CPU milliseconds that a process and its descendants have used, those that have ended included: once the
/// parent has waited for a child, the child's time is in its `cutime` and `cstime` (proc_pid_stat(5)).
///
/// Living processes are read from schedstat, in nanoseconds (Documentation/scheduler/sched-stats); those that
/// have ended, and all where the kernel keeps no schedstat, in ticks of 10 ms. None where /proc or the
/// process can't be read.
pub(crate) fn cpu_ms(root: u32) -> Option<f64> {
    let mut processes = HashMap::new();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(process) = read(pid) {
            processes.insert(pid, process);
        }
    }
    processes.get(&root)?;
    let tick = 1e3 / ticks_per_second()?;
    let used = processes.iter().filter(|(pid, _)| descends(**pid, root, &processes)).map(
        |(pid, process)| {
            let own = run_time_ms(*pid).unwrap_or(process.own as f64 * tick);
            own + process.reaped as f64 * tick
        },
    );
    Some(used.sum())
}

/// Time on a CPU of a process with one thread, which PostgreSQL's are; None where the kernel keeps none.
fn run_time_ms(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    let nanoseconds: u64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    (nanoseconds > 0).then_some(nanoseconds as f64 / 1e6)
}

/// CPU milliseconds that this process has used.
pub(crate) fn own_cpu_ms() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|time| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3)
            .sum()
    })
}

/// Length of a tick in milliseconds.
pub(crate) fn tick_ms() -> f64 {
    ticks_per_second().map_or(10.0, |ticks| 1e3 / ticks)
}

fn ticks_per_second() -> Option<f64> {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    (ticks > 0).then_some(ticks as f64)
}

fn read(pid: u32) -> Option<Process> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Process> {
    // The program's name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    // Nine fields on from there: utime, stime, cutime, cstime.
    let mut ticks = fields.skip(9).map(|field| field.parse::<u64>().ok());
    let mut pair = || Some(ticks.next()?? + ticks.next()??);
    Some(Process { parent, own: pair()?, reaped: pair()? })
}

fn descends(pid: u32, root: u32, processes: &HashMap<u32, Process>) -> bool {
    let mut at = pid;
    // Parents change while we read, so a cycle is thinkable; no real line of descent is this long.
    for _ in 0..64 {
        if at == root {
            return true;
        }
        match processes.get(&at) {
            Some(process) if process.parent != 0 => at = process.parent,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name_of_the_program() {
        let line = "7 (post) gres) x) S 3 7 7 0 -1 4194560 1 2 0 0 100 20 3 4 20 0 1 0 5 6 7";
        assert_eq!(parse(line), Some(Process { parent: 3, own: 120, reaped: 7 }));
        assert_eq!(parse("7 (x) S"), None);
    }

    #[test]
    fn only_descendants_count() {
        let process = |parent| Process { parent, own: 1, reaped: 0 };
        let processes = HashMap::from([
            (10, process(1)),
            (11, process(10)),
            (12, process(11)),
            (13, process(1)),
        ]);
        assert!(descends(12, 10, &processes));
        assert!(!descends(13, 10, &processes));
        assert!(cpu_ms(std::process::id()).is_some());
        assert_eq!(cpu_ms(u32::MAX), None);
    }
}
