//! This process's own memory and processor time, from Linux's /proc; elsewhere there are no such lines.

use std::fmt::Write;

/// Kernel's USER_HZ: 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

pub fn metrics(out: &mut String) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(bytes) = resident(&status) {
        metric(out, "process_resident_memory_bytes", "gauge", "Resident memory of this process", bytes as f64);
    }
    if let Some(seconds) = cpu_seconds(&stat) {
        metric(out, "process_cpu_seconds", "counter", "User and system time of this process", seconds);
    }
    if let Some(fds) = std::fs::read_dir("/proc/self/fd").ok().map(|d| d.count()) {
        metric(out, "process_open_fds", "gauge", "Open file descriptors", fds as f64);
    }
}

fn metric(out: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    let suffix = if kind == "counter" { "_total" } else { "" };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{suffix} {value}");
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the command in parentheses and may hold anything, spaces too.
    let mut after = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    let (user, system): (f64, f64) = (after.next()?.parse().ok()?, after.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_files() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        let stat = "1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn tells_of_this_process() {
        let mut out = String::new();
        metrics(&mut out);
        assert_eq!(out.lines().filter(|l| !l.starts_with('#')).count(), 3, "{out}");
    }
}
