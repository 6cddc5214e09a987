//! Privileges given up for good, and limits that the kernel enforces.

use std::fs;

use anyhow::{Context as _, Result};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Uid, geteuid, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{
    CpuSet, UnshareFlags, sched_getaffinity, sched_getcpu, sched_setaffinity, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::run::Mapping;
use super::spec::Spec;

/// Newest Landlock that the rules below are written for; an older kernel enforces what it knows.
const LANDLOCK: ABI = ABI::V6;

/// Takes on the user of the build in a user namespace of its own, which owns nothing: neither the
/// mounts nor the host name. No further user namespace can be made within it.
pub(super) fn drop_privileges(user: u32) -> Result<()> {
    // One more: the namespace that is made here.
    fs::write("/proc/sys/user/max_user_namespaces", "1").context("limiting user namespaces")?;
    if Mapping::of_this_process()? == Mapping::Two {
        set_thread_groups(&[]).context("giving up groups")?;
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        set_thread_res_gid(gid, gid, gid).context("taking on the group")?;
        set_thread_res_uid(uid, uid, uid).context("taking on the user")?;
    }
    let outside = geteuid().as_raw();
    unshare_user().context("a user namespace of its own")?;
    // A process that has changed its user owns its /proc files again only when it is dumpable.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    fs::write("/proc/self/setgroups", "deny").context("denying setgroups")?;
    let map = format!("{user} {outside} 1");
    fs::write("/proc/self/uid_map", &map).context("mapping the user")?;
    fs::write("/proc/self/gid_map", &map).context("mapping the group")
}

#[expect(deprecated, reason = "unsafe only with UnshareFlags::FILES, which is not asked for")]
fn unshare_user() -> rustix::io::Result<()> {
    rustix::thread::unshare(UnshareFlags::NEWUSER)
}

/// Limits of a process, the mask of new files and the CPUs, all inherited by the command.
pub(super) fn limit(spec: &Spec) -> Result<()> {
    let limits = [
        (Resource::Core, 0),
        (Resource::Nproc, spec.limits.processes),
        (Resource::Data, spec.limits.memory),
        (Resource::Fsize, spec.limits.disk),
        (Resource::Nofile, 4096),
        (Resource::Memlock, 64 << 10),
    ];
    for (resource, most) in limits {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).with_context(|| format!("limiting {resource:?}"))?;
    }
    rustix::process::umask(Mode::from_raw_mode(spec.umask));
    spec.cpus.map_or(Ok(()), use_cpus)
}

/// Keeps to `count` CPUs of those allowed: the one that this process is on and those after it, so that
/// steps side by side do not all keep to the same.
fn use_cpus(count: usize) -> Result<()> {
    let allowed = sched_getaffinity(None).context("asking for the CPUs")?;
    let mut chosen = CpuSet::new();
    let here = sched_getcpu();
    let around = (here..CpuSet::MAX_CPU).chain(0..here).filter(|cpu| allowed.is_set(*cpu));
    around.take(count.max(1)).for_each(|cpu| chosen.set(cpu));
    sched_setaffinity(None, &chosen).context("choosing the CPUs")
}

/// The second wall: what the mounts already say, said again by Landlock, with no TCP and no signal
/// or abstract socket to the outside. A kernel without Landlock has only the first wall.
pub(super) fn landlock(writable: &[&str]) -> Result<()> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    let rules = allow(rules, "/", AccessFs::from_read(LANDLOCK))?;
    let device = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let rules = allow(rules, "/dev", device)?;
    let all = AccessFs::from_all(LANDLOCK);
    let rules = writable.iter().try_fold(rules, |rules, path| allow(rules, path, all))?;
    rules.restrict_self().context("Landlock")?;
    Ok(())
}

fn allow(
    rules: RulesetCreated,
    path: &str,
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated> {
    let directory = PathFd::new(path).with_context(|| format!("opening {path}"))?;
    Ok(rules.add_rule(PathBeneath::new(directory, access))?)
}
