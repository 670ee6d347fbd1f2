//! Figures of the process, from Linux's `/proc/self` (proc(5)). What cannot be read is left out.

use std::fs;

/// Figures of the process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProcessFigures {
    /// Time on the processors, user and system, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory that is in RAM, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open file descriptors.
    pub open_files: Option<u64>,
    /// Most file descriptors that it may open.
    pub open_files_max: Option<u64>,
}

impl ProcessFigures {
    /// Takes the figures of this process.
    pub fn take() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let status = read("status");
        let kilobytes = |name| number_behind(&status, name).map(|number| number * 1024);
        Self {
            cpu_seconds: cpu_seconds(&read("stat"), rustix::param::clock_ticks_per_second()),
            resident_bytes: kilobytes("VmRSS:"),
            virtual_bytes: kilobytes("VmSize:"),
            threads: number_behind(&status, "Threads:"),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
            open_files_max: number_behind(&read("limits"), "Max open files"),
        }
    }
}

/// The first number in the line that begins with `name`.
fn number_behind(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15 of `stat`. The second field, the program's name in parentheses, may hold anything.
fn cpu_seconds(stat: &str, ticks_per_second: u64) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / ticks_per_second.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_kernel_are_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 1000 9 9";
        assert_eq!(cpu_seconds(stat, 100), Some(2.0));
        assert_eq!(cpu_seconds("", 100), None);
        assert_eq!(number_behind("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(
            number_behind("Max open files            1024   4096   files", "Max open files"),
            Some(1024)
        );
        assert_eq!(number_behind("Max open files            unlimited", "Max open files"), None);
    }

    #[test]
    fn this_process_has_figures() {
        let figures = ProcessFigures::take();
        assert!(figures.resident_bytes.unwrap() > 1 << 16);
        assert!(figures.threads.unwrap() > 0 && figures.open_files.unwrap() > 2);
        assert!(figures.cpu_seconds.is_some());
    }
}
