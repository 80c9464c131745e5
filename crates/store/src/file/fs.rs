//! Which file systems keep the promises that the file store builds on: locks, links and syncs that all processes see.

use std::fs::File;
use std::io;
use std::path::Path;

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The name of the network or user-space file system that holds `dir`, if it is one.
#[cfg(target_os = "linux")]
pub(super) fn not_local(dir: &Path) -> io::Result<Option<&'static str>> {
    Ok(refused(rustix::fs::statfs(dir)?.f_type as u32))
}

/// Elsewhere the types are not told apart.
#[cfg(not(target_os = "linux"))]
pub(super) fn not_local(_dir: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// Makes all that the file system of `dir` holds durable.
#[cfg(target_os = "linux")]
pub(super) fn sync_everything(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn sync_everything(_dir: &Path) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// By the magic numbers of statfs(2).
#[cfg(target_os = "linux")]
fn refused(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x0000_6969 => "a network file system (NFS)",
        0x0000_517b | 0xfe53_4d42 | 0xff53_4d42 => "a network file system (SMB)",
        0x0102_1997 => "a file system shared by a host (9p)",
        0x00c3_6400 => "a network file system (Ceph)",
        0x6573_5546 => "a user-space file system (FUSE)",
        0x0bd0_0bd0 => "a network file system (Lustre)",
        0x4750_4653 => "a network file system (GPFS)",
        0x5346_414f | 0x6b41_4653 => "a network file system (AFS)",
        0x7375_7245 => "a network file system (Coda)",
        0x0116_1970 => "a shared-disk file system (GFS2)",
        0x7461_636f => "a shared-disk file system (OCFS2)",
        0x1983_0326 => "a network file system (BeeGFS)",
        0xaad7_aaea => "a network file system (PanFS)",
        0x0000_564c => "a network file system (NCP)",
        _ => return None,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn local_disks_are_taken_and_network_file_systems_refused() {
        for local in [0xef53, 0x0102_1994, 0x5846_5342, 0x9123_683e, 0x794c_7630] {
            assert_eq!(super::refused(local), None, "{local:x}");
        }
        assert!(super::refused(0x6969).is_some());
        assert!(super::refused(0xff53_4d42).is_some());
    }
}
