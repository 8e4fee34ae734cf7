//! The attacks, one row each.

use std::path::Path;

use libc::{
    AT_EMPTY_PATH, AT_FDCWD, MAP_ANONYMOUS, MAP_PRIVATE, O_CREAT, O_DIRECTORY, O_PATH, O_RDONLY,
    O_RDWR, O_TMPFILE, O_TRUNC, O_WRONLY, PROT_EXEC, PROT_READ, PROT_WRITE,
};

use super::Arg;
use super::attacks::{Attack, Wall};

/// The size of `struct open_how`.
pub(super) const HOW_BYTES: i64 = 24;

/// `struct open_how` of linux/openat2.h.
pub(super) fn how(flags: i32, resolve: u64) -> Arg {
    let mode = if flags & (O_CREAT | O_TMPFILE) == 0 { 0_u64 } else { 0o600 };
    let fields = [i64::from(flags).cast_unsigned(), mode, resolve];
    Arg::Bytes(fields.iter().flat_map(|field| field.to_ne_bytes()).collect())
}

pub(super) fn n(number: impl Into<i64>) -> Arg {
    Arg::Number(number.into())
}

pub(super) fn path(path: &str) -> Arg {
    Arg::Bytes([path.as_bytes(), &[0]].concat())
}

/// Room for what a call writes.
fn room() -> Arg {
    Arg::Bytes(vec![0; 512])
}

/// All of them, on a process that has the directory `dir` and the file `file` of it open.
pub(super) fn attacks(dir: i64, file: i64, path_of_dir: &Path) -> Vec<Attack> {
    let own = i64::from(std::process::id());
    let data = path_of_dir.join("data").display().to_string();
    let mut all = files(dir, file, own);
    all.extend(existence(dir));
    all.extend(paths(file));
    all.extend(changes(&data, file));
    all.extend(processes(own));
    all.extend(memory(file));
    all.extend(kernel(file));
    all
}

/// One row of a table: what it is for, the call, its arguments.
type Row = (&'static str, i64, Vec<Arg>);

fn table(wall: Wall, rows: Vec<Row>) -> Vec<Attack> {
    let attack = |(name, number, args): Row| Attack { name: name.to_owned(), wall, number, args };
    rows.into_iter().map(attack).collect()
}

/// Files outside the granted directories, and writing inside, by the call that may open files.
fn files(dir: i64, file: i64, parent: i64) -> Vec<Attack> {
    let open = |name, at: i64, to: &str, flags| {
        (name, libc::SYS_openat2, vec![n(at), path(to), how(flags, 0), n(HOW_BYTES)])
    };
    let mem = format!("/proc/{parent}/mem");
    table(
        Wall::Files,
        vec![
            open("write the parent's memory", dir, &mem, O_RDWR),
            open(
                "read the parent's environment",
                dir,
                &format!("/proc/{parent}/environ"),
                O_RDONLY,
            ),
            open("read a file of the machine", dir, "/etc/passwd", O_RDONLY),
            open("climb out", dir, "../../../../../../../../etc/passwd", O_RDONLY),
            open("list the parent directory", dir, "/", O_RDONLY | O_DIRECTORY),
            open("write a granted file", dir, "data", O_RDWR),
            open("overwrite a granted file", dir, "data", O_WRONLY),
            open("create beside a granted file", dir, "new", O_WRONLY | O_CREAT),
            ("write by a descriptor for reading", libc::SYS_write, vec![n(file), path("x"), n(1)]),
            open("create a file without a name", dir, ".", O_WRONLY | O_TMPFILE),
        ],
    )
}

/// Whether paths exist, and what the tree alone forbids.
fn existence(dir: i64) -> Vec<Attack> {
    let look = |name, to: &str, flags| {
        (name, libc::SYS_openat2, vec![n(dir), path(to), how(O_PATH | flags, 0), n(HOW_BYTES)])
    };
    table(
        Wall::Tree,
        vec![
            look("find out that a file exists", "/etc/passwd", 0),
            look("find out that a directory exists", "/proc/self", 0),
            look("find out that a file beside exists", "../../../../../etc/passwd", 0),
            (
                "read a link",
                libc::SYS_readlinkat,
                vec![n(dir), path("/proc/self/exe"), room(), n(512)],
            ),
            (
                "empty a granted file",
                libc::SYS_openat2,
                vec![n(dir), path("data"), how(O_RDONLY | O_TRUNC, 0), n(HOW_BYTES)],
            ),
        ],
    )
}

/// Calls that take paths.
fn paths(file: i64) -> Vec<Attack> {
    let (here, etc) = (n(AT_FDCWD), path("/etc/passwd"));
    let open = |at: i32| vec![n(at), etc.clone(), how(O_RDONLY, 0), n(HOW_BYTES)];
    table(
        Wall::Filter,
        vec![
            ("open", libc::SYS_open, vec![etc.clone(), n(O_RDONLY)]),
            ("openat", libc::SYS_openat, vec![here.clone(), etc.clone(), n(O_RDONLY)]),
            ("openat2 from the working directory", libc::SYS_openat2, open(AT_FDCWD)),
            ("openat2 from no directory", libc::SYS_openat2, open(-1)),
            (
                "readlinkat from the working directory",
                libc::SYS_readlinkat,
                vec![here.clone(), path("/proc/self/exe"), room(), n(512)],
            ),
            ("creat", libc::SYS_creat, vec![path("/tmp/belljar-attack"), n(0o600)]),
            ("stat", libc::SYS_stat, vec![etc.clone(), room()]),
            ("lstat", libc::SYS_lstat, vec![etc.clone(), room()]),
            ("newfstatat", libc::SYS_newfstatat, vec![here.clone(), etc.clone(), room(), n(0)]),
            (
                "newfstatat by descriptor",
                libc::SYS_newfstatat,
                vec![n(file), path(""), room(), n(AT_EMPTY_PATH)],
            ),
            ("statx", libc::SYS_statx, vec![here.clone(), etc.clone(), n(0), n(0x7ff), room()]),
            ("access", libc::SYS_access, vec![etc.clone(), n(0)]),
            ("faccessat2", libc::SYS_faccessat2, vec![here.clone(), etc.clone(), n(0), n(0)]),
        ],
    )
}

/// Changes to files, and what else is done with an open one.
fn changes(data: &str, file: i64) -> Vec<Attack> {
    const SETFLAGS: i64 = 0x4008_6602;
    let data = path(data);
    table(
        Wall::Filter,
        vec![
            ("truncate", libc::SYS_truncate, vec![data.clone(), n(0)]),
            ("ftruncate", libc::SYS_ftruncate, vec![n(file), n(0)]),
            (
                "ioctl FS_IOC_SETFLAGS",
                libc::SYS_ioctl,
                vec![n(file), n(SETFLAGS), Arg::Bytes(vec![0x10; 8])],
            ),
            ("ioctl TIOCSTI", libc::SYS_ioctl, vec![n(0), n(0x5412), path("x")]),
            ("ioctl FIONREAD", libc::SYS_ioctl, vec![n(3), n(0x541b), room()]),
            ("pwrite to a granted file", libc::SYS_pwrite64, vec![n(file), path("x"), n(1), n(0)]),
            ("fchmod", libc::SYS_fchmod, vec![n(file), n(0o777)]),
            ("chmod", libc::SYS_chmod, vec![data.clone(), n(0o777)]),
            ("fchown", libc::SYS_fchown, vec![n(file), n(1), n(1)]),
            (
                "fsetxattr",
                libc::SYS_fsetxattr,
                vec![n(file), path("user.x"), path("x"), n(1), n(0)],
            ),
            ("utimensat", libc::SYS_utimensat, vec![n(file), n(0), n(0), n(0)]),
            ("unlink", libc::SYS_unlink, vec![data.clone()]),
            ("rename", libc::SYS_rename, vec![data.clone(), path("/tmp/belljar-attack")]),
            ("link", libc::SYS_link, vec![data.clone(), path("/tmp/belljar-attack")]),
            ("symlink", libc::SYS_symlink, vec![data, path("/tmp/belljar-attack")]),
            ("mkdir", libc::SYS_mkdir, vec![path("/tmp/belljar-attack"), n(0o700)]),
            ("mknod", libc::SYS_mknod, vec![path("/tmp/belljar-attack"), n(0o010_600), n(0)]),
            ("chdir", libc::SYS_chdir, vec![path("/")]),
            ("fchdir", libc::SYS_fchdir, vec![n(file)]),
            (
                "name_to_handle_at",
                libc::SYS_name_to_handle_at,
                vec![n(file), path(""), room(), room(), n(AT_EMPTY_PATH)],
            ),
            ("open_by_handle_at", libc::SYS_open_by_handle_at, vec![n(file), room(), n(O_RDONLY)]),
            ("inotify_init1", libc::SYS_inotify_init1, vec![n(0)]),
            ("fanotify_init", libc::SYS_fanotify_init, vec![n(0), n(0)]),
            ("flock", libc::SYS_flock, vec![n(file), n(2 | 4)]),
            ("fcntl", libc::SYS_fcntl, vec![n(file), n(4), n(0)]),
            ("sendfile", libc::SYS_sendfile, vec![n(1), n(file), n(0), n(1)]),
            (
                "copy_file_range",
                libc::SYS_copy_file_range,
                vec![n(file), n(0), n(1), n(0), n(1), n(0)],
            ),
        ],
    )
}

/// Other processes, new ones, and what this one may do.
fn processes(parent: i64) -> Vec<Attack> {
    let remote = [1_u64 << 20, 8].iter().flat_map(|field| field.to_ne_bytes()).collect::<Vec<u8>>();
    let vector = || Arg::Bytes(remote.clone());
    let moved = |number| vec![n(number), vector(), n(1), vector(), n(1), n(0)];
    let highest = || Arg::Bytes(vec![0xff; 16]);
    let shell = || vec![path("/bin/sh"), n(0), n(0)];
    table(
        Wall::Filter,
        vec![
            ("kill the parent", libc::SYS_kill, vec![n(parent), n(libc::SIGTERM)]),
            ("ask whether the parent lives", libc::SYS_kill, vec![n(parent), n(0)]),
            ("kill everybody", libc::SYS_kill, vec![n(-1), n(0)]),
            ("tgkill the parent", libc::SYS_tgkill, vec![n(parent), n(parent), n(0)]),
            ("tkill the parent", libc::SYS_tkill, vec![n(parent), n(0)]),
            (
                "rt_sigqueueinfo",
                libc::SYS_rt_sigqueueinfo,
                vec![n(parent), n(libc::SIGTERM), room()],
            ),
            ("pidfd_open", libc::SYS_pidfd_open, vec![n(parent), n(0)]),
            ("pidfd_send_signal", libc::SYS_pidfd_send_signal, vec![n(0), n(0), n(0), n(0)]),
            ("ptrace", libc::SYS_ptrace, vec![n(libc::PTRACE_ATTACH), n(parent), n(0), n(0)]),
            ("process_vm_readv", libc::SYS_process_vm_readv, moved(parent)),
            ("process_vm_writev", libc::SYS_process_vm_writev, moved(parent)),
            ("kcmp", libc::SYS_kcmp, vec![n(parent), n(parent), n(0), n(0), n(0)]),
            ("clone", libc::SYS_clone, vec![n(libc::SIGCHLD), n(0)]),
            ("clone3", libc::SYS_clone3, vec![Arg::Bytes(vec![0; 88]), n(88)]),
            ("fork", libc::SYS_fork, vec![]),
            ("vfork", libc::SYS_vfork, vec![]),
            ("execve", libc::SYS_execve, shell()),
            ("execveat", libc::SYS_execveat, [vec![n(AT_FDCWD)], shell()].concat()),
            ("setrlimit", libc::SYS_setrlimit, vec![n(1), highest()]),
            ("prlimit64", libc::SYS_prlimit64, vec![n(0), n(2), highest(), n(0)]),
            (
                "prlimit64 of the parent",
                libc::SYS_prlimit64,
                vec![n(parent), n(7), highest(), n(0)],
            ),
            ("prctl PR_SET_DUMPABLE", libc::SYS_prctl, vec![n(libc::PR_SET_DUMPABLE), n(1)]),
            ("prctl PR_SET_PDEATHSIG", libc::SYS_prctl, vec![n(libc::PR_SET_PDEATHSIG), n(0)]),
            ("prctl PR_SET_SECCOMP", libc::SYS_prctl, vec![n(libc::PR_SET_SECCOMP), n(1)]),
            ("seccomp", libc::SYS_seccomp, vec![n(1), n(0), room()]),
            ("setuid", libc::SYS_setuid, vec![n(0)]),
            ("setresuid", libc::SYS_setresuid, vec![n(0), n(0), n(0)]),
            ("setgroups", libc::SYS_setgroups, vec![n(0), n(0)]),
            ("capset", libc::SYS_capset, vec![room(), highest()]),
            ("setsid", libc::SYS_setsid, vec![]),
            ("setpgid", libc::SYS_setpgid, vec![n(0), n(0)]),
            ("setpriority", libc::SYS_setpriority, vec![n(0), n(0), n(-20)]),
            ("sched_setaffinity", libc::SYS_sched_setaffinity, vec![n(0), n(8), highest()]),
            ("rt_sigaction", libc::SYS_rt_sigaction, vec![n(libc::SIGTERM), room(), n(0), n(8)]),
        ],
    )
}

/// Code that was not there before.
fn memory(file: i64) -> Vec<Attack> {
    let (rwx, private) = (PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS);
    let map = |protection: i32, flags: i32, fd: i64| {
        vec![n(0), n(4096), n(protection), n(flags), n(fd), n(0)]
    };
    table(
        Wall::Filter,
        vec![
            ("mmap writable code", libc::SYS_mmap, map(rwx, private, -1)),
            ("mmap code", libc::SYS_mmap, map(PROT_EXEC, private, -1)),
            ("mmap a file as code", libc::SYS_mmap, map(PROT_READ | PROT_EXEC, MAP_PRIVATE, file)),
            ("mprotect to code", libc::SYS_mprotect, vec![Arg::Stack, n(4096), n(rwx)]),
            ("pkey_mprotect", libc::SYS_pkey_mprotect, vec![Arg::Stack, n(4096), n(rwx), n(-1)]),
            ("personality", libc::SYS_personality, vec![n(0x0040_0000)]),
            ("memfd_create", libc::SYS_memfd_create, vec![path("x"), n(0)]),
            ("memfd_secret", libc::SYS_memfd_secret, vec![n(0)]),
            ("shmget", libc::SYS_shmget, vec![n(0), n(4096), n(0o600)]),
            ("userfaultfd", libc::SYS_userfaultfd, vec![n(1)]),
            ("modify_ldt", libc::SYS_modify_ldt, vec![n(0), room(), n(16)]),
            ("arch_prctl", libc::SYS_arch_prctl, vec![n(0x1003), room()]),
            ("mlockall", libc::SYS_mlockall, vec![n(1)]),
        ],
    )
}

/// The network, and the kernel's other doors.
fn kernel(file: i64) -> Vec<Attack> {
    let null = || path("none");
    table(
        Wall::Filter,
        vec![
            ("socket AF_INET", libc::SYS_socket, vec![n(libc::AF_INET), n(1), n(0)]),
            ("socket AF_UNIX", libc::SYS_socket, vec![n(libc::AF_UNIX), n(1), n(0)]),
            ("socket AF_NETLINK", libc::SYS_socket, vec![n(libc::AF_NETLINK), n(3), n(0)]),
            ("socketpair", libc::SYS_socketpair, vec![n(1), n(1), n(0), room()]),
            ("sendmsg on the channel", libc::SYS_sendmsg, vec![n(3), room(), n(0)]),
            ("recvmsg on the channel", libc::SYS_recvmsg, vec![n(3), room(), n(0x40)]),
            (
                "setsockopt on the channel",
                libc::SYS_setsockopt,
                vec![n(3), n(1), n(9), room(), n(4)],
            ),
            ("io_uring_setup", libc::SYS_io_uring_setup, vec![n(8), room()]),
            ("io_uring_enter", libc::SYS_io_uring_enter, vec![n(file), n(1), n(0), n(0)]),
            ("bpf", libc::SYS_bpf, vec![n(0), room(), n(64)]),
            ("perf_event_open", libc::SYS_perf_event_open, vec![room(), n(0), n(-1), n(-1), n(0)]),
            ("add_key", libc::SYS_add_key, vec![path("user"), path("x"), path("x"), n(1), n(-3)]),
            ("keyctl", libc::SYS_keyctl, vec![n(0), n(-3), n(1)]),
            ("unshare", libc::SYS_unshare, vec![n(libc::CLONE_NEWUSER)]),
            ("setns", libc::SYS_setns, vec![n(file), n(0)]),
            ("mount", libc::SYS_mount, vec![null(), path("/"), path("tmpfs"), n(0), n(0)]),
            ("umount2", libc::SYS_umount2, vec![path("/"), n(2)]),
            ("pivot_root", libc::SYS_pivot_root, vec![path("/"), path("/")]),
            ("chroot", libc::SYS_chroot, vec![path("/")]),
            ("open_tree", libc::SYS_open_tree, vec![n(AT_FDCWD), path("/"), n(1)]),
            ("fsopen", libc::SYS_fsopen, vec![path("proc"), n(0)]),
            ("eventfd2", libc::SYS_eventfd2, vec![n(0), n(0)]),
            ("pipe2", libc::SYS_pipe2, vec![room(), n(0)]),
            ("dup", libc::SYS_dup, vec![n(3)]),
            ("epoll_create1", libc::SYS_epoll_create1, vec![n(0)]),
            ("timer_create", libc::SYS_timer_create, vec![n(0), n(0), room()]),
            ("setitimer", libc::SYS_setitimer, vec![n(0), room(), n(0)]),
            ("uname", libc::SYS_uname, vec![room()]),
            ("sysinfo", libc::SYS_sysinfo, vec![room()]),
            ("syslog", libc::SYS_syslog, vec![n(3), room(), n(16)]),
            ("sethostname", libc::SYS_sethostname, vec![path("x"), n(1)]),
            ("reboot", libc::SYS_reboot, vec![n(0), n(0), n(0), n(0)]),
            ("init_module", libc::SYS_init_module, vec![room(), n(1), path("")]),
            ("kexec_load", libc::SYS_kexec_load, vec![n(0), n(0), n(0), n(0)]),
            ("iopl", libc::SYS_iopl, vec![n(3)]),
            ("a call of the 32-bit table", 0x4000_0000 + libc::SYS_getpid, vec![]),
        ],
    )
}
