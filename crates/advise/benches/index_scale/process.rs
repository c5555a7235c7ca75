//! What processes take, as proc(5) shows it.

use std::path::Path;

pub const MEBI: f64 = 1024.0 * 1024.0;

/// CPU seconds of a process: `utime` and `stime`, in hundredths (`sysconf(_SC_CLK_TCK)`).
pub fn cpu(process: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok());
    ticks(11).zip(ticks(12)).map_or(0.0, |(user, system)| (user + system) / 100.0)
}

/// The most memory that this process has had, bytes.
pub fn peak_memory() -> f64 {
    kibibytes("/proc/self/status", "VmHWM:") * 1024.0
}

/// Process id of the server in a data directory.
pub fn postmaster(data_directory: &Path) -> String {
    let file = std::fs::read_to_string(data_directory.join("postmaster.pid")).unwrap();
    file.lines().next().unwrap().trim().to_owned()
}

/// CPU seconds of the processes that a postmaster has started and that still run.
pub fn cpu_of_server(postmaster: &str) -> f64 {
    children(postmaster).iter().map(|process| cpu(process)).sum()
}

/// Bytes of a server's processes, shared ones divided among those that share them.
pub fn memory_of_server(postmaster: &str) -> f64 {
    let mut all = children(postmaster);
    all.push(postmaster.to_owned());
    let of = |process: &String| kibibytes(&format!("/proc/{process}/smaps_rollup"), "Pss:");
    all.iter().map(of).sum::<f64>() * 1024.0
}

/// Bytes that the files below a directory take.
pub fn on_disk(directory: &Path) -> f64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => on_disk(&entry.path()),
            // Allocated blocks are counted in 512 bytes (stat(2)): sparse files take little.
            Ok(metadata) => metadata.blocks() as f64 * 512.0,
            Err(_) => 0.0,
        })
        .sum()
}

fn children(postmaster: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| {
            let process = entry.file_name().into_string().ok()?;
            let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            let parent = text.rsplit(')').next()?.split_whitespace().nth(1)?;
            (parent == postmaster).then_some(process)
        })
        .collect()
}

fn kibibytes(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
