//! Whether there is memory for work, before it begins.

use std::{fs, path::Path};

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::Args;
use higanbana_core::device::is_flex;

/// What to do where there is too little.
#[derive(Args)]
pub struct Room {
    /// Begin even where more memory is needed than is free
    #[arg(long)]
    ignore_memory: bool,
}

impl Room {
    /// Refuses work that needs at least so many bytes where fewer are free; `less` says how it needs fewer.
    /// Nothing is known of the memory of GPUs, and of a system that does not tell; what is wrong with the
    /// model is told where it is read.
    ///
    /// # Errors
    /// With both numbers.
    pub fn check<E>(
        &self,
        device: &Device,
        least: impl FnOnce() -> Result<f64, E>,
        less: &str,
    ) -> Result<()> {
        if self.ignore_memory || !is_flex(device) {
            return Ok(());
        }
        let (Some(free), Ok(least)) = (free(), least()) else { return Ok(()) };
        if least > free {
            let [least, free] = [least, free].map(|bytes| bytes / 1e9);
            bail!(
                "at least {least:.1} GB of memory are needed, and {free:.1} GB are free; {less}, or go on \
                 with --ignore-memory"
            );
        }
        Ok(())
    }
}

/// Bytes that this process may still take: the least that the machine, the control groups of the process
/// and its own limits leave. What can be given back, such as cached files, counts as free.
fn free() -> Option<f64> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let groups = read("/proc/self/cgroup");
    let machine = machine(&read("/proc/meminfo"));
    let limits = limits(&read("/proc/self/limits"), &status);
    let groups = self::groups(&groups, |path| fs::read_to_string(path).ok());
    [machine, limits, groups].into_iter().flatten().reduce(f64::min)
}

/// The number that stands behind a name, in bytes.
fn number(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    Some(if words.next() == Some("kB") { number * 1024.0 } else { number })
}

fn machine(meminfo: &str) -> Option<f64> {
    Some(number(meminfo, "MemAvailable:")? + number(meminfo, "SwapFree:").unwrap_or_default())
}

/// The limits on addresses and data, less what is in use: addresses that are only reserved are taken for
/// free.
fn limits(limits: &str, status: &str) -> Option<f64> {
    let names = ["Max address space", "Max data size"];
    let least = names.iter().filter_map(|name| number(limits, name)).reduce(f64::min)?;
    Some((least - number(status, "VmRSS:").unwrap_or_default()).max(0.0))
}

/// The limits of the control groups that a process is in, and of those around them, less what they hold.
fn groups(groups: &str, read: impl Fn(&str) -> Option<String>) -> Option<f64> {
    let of = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, most, held, files) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max", "memory.current", "file "),
            it if it.split(',').any(|name| name == "memory") => (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_cache ",
            ),
            _ => return None,
        };
        let free = |group: &Path| {
            let group = format!("{root}{}", group.display());
            let group = group.trim_end_matches('/');
            let most: f64 = read(&format!("{group}/{most}"))?.trim().parse().ok()?;
            let held: f64 = read(&format!("{group}/{held}"))?.trim().parse().ok()?;
            let files = read(&format!("{group}/memory.stat")).and_then(|it| number(&it, files));
            Some((most - held + files.unwrap_or_default()).max(0.0))
        };
        Path::new(path).ancestors().filter_map(free).reduce(f64::min)
    };
    groups.lines().filter_map(of).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn what_is_more_than_is_free_may_be_asked_for() {
        let device = higanbana_core::device::cpu();
        let check = |ignore_memory, bytes: f64| {
            Room { ignore_memory }.check(&device, || Ok::<_, Infallible>(bytes), "make it smaller")
        };
        check(false, 1.0).unwrap();
        check(true, f64::INFINITY).unwrap();
        if free().is_some() && is_flex(&device) {
            let error = check(false, 1e18).unwrap_err().to_string();
            assert!(
                error.starts_with("at least 1000000000.0 GB of memory are needed, and "),
                "{error}"
            );
            assert!(error.ends_with("make it smaller, or go on with --ignore-memory"), "{error}");
        }
    }

    #[test]
    fn the_machine_and_the_process_say_what_is_free() {
        let meminfo = "MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:   50 kB\nSwapFree: 7 kB\n";
        assert_eq!(machine(meminfo), Some(57.0 * 1024.0));
        assert_eq!(machine(""), None);
        let of = |soft: &str| {
            limits(
                &format!(
                    "Limit  Soft Limit  Hard Limit  Units\nMax data size   unlimited  unlimited  bytes\n\
                     Max address space   {soft}   unlimited  bytes\n"
                ),
                "VmRSS:\t  2 kB\n",
            )
        };
        assert_eq!(of("10240"), Some(8192.0));
        assert_eq!(of("1024"), Some(0.0));
        assert_eq!(of("unlimited"), None);
    }

    #[test]
    fn every_group_around_a_process_binds_it() {
        let files = [
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/b/memory.current", "5\n"),
            ("/sys/fs/cgroup/a/memory.max", "1000\n"),
            ("/sys/fs/cgroup/a/memory.current", "600\n"),
            ("/sys/fs/cgroup/a/memory.stat", "anon 500\nfile 100\nkernel 0\n"),
            ("/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "300\n"),
            ("/sys/fs/cgroup/memory/c/memory.usage_in_bytes", "100\n"),
        ];
        let read = |path: &str| {
            files.iter().find(|(name, _)| *name == path).map(|(_, text)| text.to_string())
        };
        assert_eq!(groups("0::/a/b\n", read), Some(500.0));
        assert_eq!(groups("4:cpu,memory:/c\n0::/a/b\n", read), Some(200.0));
        assert_eq!(groups("1:cpu:/c\n0::/\n", read), None);
    }
}
