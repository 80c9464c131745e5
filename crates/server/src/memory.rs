//! How much memory there is: the machine's, or what a cgroup (v1 or v2) leaves of it. Read once, at the start.

use std::fs;
use std::path::{Path, PathBuf};

/// Assumed where the system does not tell.
const FALLBACK: u64 = 2 << 30;
/// Below this a node could not hold one flush and its answer.
const SMALLEST_BUDGET: u64 = 16 << 20;

/// A quarter of what this process may use, in bytes.
pub fn default_budget() -> u64 {
    (available() / 4).max(SMALLEST_BUDGET)
}

/// `123`, `64KiB`, `512MiB`, `2GiB`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => (&text[..at], &text[at..]),
        None => (text, ""),
    };
    let shift = match unit.trim() {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        other => return Err(format!("'{other}' is no unit here; use plain bytes, KiB, MiB or GiB")),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of bytes is needed".to_owned())?;
    let bytes = number.checked_mul(1 << shift).ok_or("too large")?;
    match bytes {
        SMALLEST_BUDGET.. => Ok(bytes),
        _ => Err(format!("at least {SMALLEST_BUDGET} bytes (16MiB) are needed")),
    }
}

fn available() -> u64 {
    let machine = read(Path::new("/proc/meminfo")).as_deref().and_then(mem_total).unwrap_or(FALLBACK);
    cgroup_limit(Path::new("/sys/fs/cgroup"), Path::new("/proc/self/cgroup")).map_or(machine, |l| l.min(machine))
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// The smallest limit of this process's group and of every group above it.
fn cgroup_limit(mount: &Path, membership: &Path) -> Option<u64> {
    let membership = read(membership)?;
    groups(&membership)
        .into_iter()
        .flat_map(|(below, group, file)| {
            let base = mount.join(below);
            // Inside a container the group's path is often the host's: then only the mount itself is there.
            let chain: Vec<PathBuf> =
                Path::new(group.trim_start_matches('/')).ancestors().map(|a| base.join(a)).collect();
            chain.into_iter().filter_map(move |dir| read(&dir.join(file))?.trim().parse::<u64>().ok())
        })
        .min()
}

/// Of the lines `hierarchy:controllers:path`: where the hierarchy is mounted, the path, and the file with the limit.
fn groups(membership: &str) -> Vec<(&'static str, &str, &'static str)> {
    let of_line = |line: &'_ str| -> Option<(&'static str, usize, &'static str)> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let at = line.len() - path.len();
        match controllers {
            "" => Some(("", at, "memory.max")),
            c if c.split(',').any(|c| c == "memory") => Some(("memory", at, "memory.limit_in_bytes")),
            _ => None,
        }
    };
    membership.lines().filter_map(|l| of_line(l).map(|(below, at, file)| (below, &l[at..], file))).collect()
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_with_and_without_units() {
        assert_eq!(parse_bytes("67108864"), Ok(64 << 20));
        assert_eq!(parse_bytes("512MiB"), Ok(512 << 20));
        assert_eq!(parse_bytes("2GiB"), Ok(2 << 30));
        for wrong in ["", "MiB", "1MB", "-1", "1", "99999999999GiB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_the_machine_s_total() {
        assert_eq!(mem_total("MemTotal:       24576 kB\nMemFree: 1 kB\n"), Some(24576 << 10));
        assert_eq!(mem_total("nothing"), None);
    }

    #[test]
    fn the_smallest_limit_up_the_tree_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let limit = || cgroup_limit(dir.path(), &dir.path().join("self"));
        write("self", "0::/a/b\n");
        assert_eq!(limit(), None);
        write("a/b/memory.max", "max\n");
        write("a/memory.max", "1000\n");
        assert_eq!(limit(), Some(1000));
        write("a/b/memory.max", "500\n");
        assert_eq!(limit(), Some(500));
        write("self", "5:cpu,memory:/c\n4:pids:/c\n");
        write("memory/c/memory.limit_in_bytes", "300\n");
        assert_eq!(limit(), Some(300));
    }

    #[test]
    fn a_container_sees_its_limit_at_the_mount() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("self"), "0::/docker/123\n").unwrap();
        fs::write(dir.path().join("memory.max"), "4096\n").unwrap();
        assert_eq!(cgroup_limit(dir.path(), &dir.path().join("self")), Some(4096));
    }
}
