/*
 * Sandboxes, set for all threads when everything runs.
 *
 * *errno*: fork-like clone, userfaultfd and executable mappings fail with EPERM, as under a container's profile.
 * *kill*: only the calls that the program itself makes are allowed; any other ends the process, as browsers' and
 * servers' own sandboxes do. Who injects a call into such a program kills it.
 */
#ifndef BUSY_SECCOMP_H
#define BUSY_SECCOMP_H
#include "busy.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#define FIELD(name) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
/* The low halves of arguments come first on this machine. */
#define IF_BITS(bits, skip) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, skip)
#define EPERM_RETURN (SECCOMP_RET_ERRNO | EPERM)

static const int allowed[] = {
    SYS_read, SYS_write, SYS_futex, SYS_nanosleep, SYS_clock_nanosleep, SYS_restart_syscall, SYS_rt_sigreturn,
    SYS_rt_sigprocmask, SYS_rt_tgsigqueueinfo, SYS_tgkill, SYS_getpid, SYS_gettid, SYS_pause, SYS_poll, SYS_ppoll,
    SYS_select, SYS_pselect6, SYS_epoll_wait, SYS_epoll_pwait, SYS_munmap, SYS_madvise, SYS_sigaltstack,
    SYS_clock_gettime, SYS_exit, SYS_exit_group, SYS_sched_yield, SYS_getuid, SYS_kill,
};

static void set_filter(struct sock_filter *filter, unsigned short length)
{
    struct sock_fprog program = {length, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        die("no_new_privs");
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
        die("seccomp");
}

static void refuse_some(void)
{
    struct sock_filter filter[] = {
        FIELD(nr),
        UNLESS(SYS_userfaultfd, 1), RETURN(EPERM_RETURN),
        UNLESS(SYS_fork, 1), RETURN(EPERM_RETURN),
        UNLESS(SYS_vfork, 1), RETURN(EPERM_RETURN),
        UNLESS(SYS_clone3, 1), RETURN(SECCOMP_RET_ERRNO | ENOSYS),
        UNLESS(SYS_clone, 4), FIELD(args[0]), IF_BITS(0x10000, 1), RETURN(SECCOMP_RET_ALLOW), RETURN(EPERM_RETURN),
        UNLESS(SYS_mmap, 4), FIELD(args[2]), IF_BITS(PROT_EXEC, 1), RETURN(EPERM_RETURN), RETURN(SECCOMP_RET_ALLOW),
        UNLESS(SYS_mprotect, 4), FIELD(args[2]), IF_BITS(PROT_EXEC, 1), RETURN(EPERM_RETURN), RETURN(SECCOMP_RET_ALLOW),
        RETURN(SECCOMP_RET_ALLOW),
    };
    set_filter(filter, sizeof filter / sizeof *filter);
}

static void kill_most(void)
{
    enum { COUNT = sizeof allowed / sizeof *allowed };
    struct sock_filter filter[16 + 2 * COUNT] = {
        FIELD(arch), UNLESS(AUDIT_ARCH_X86_64, 1), BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0), RETURN(SECCOMP_RET_KILL_PROCESS),
        FIELD(nr),
        UNLESS(SYS_mmap, 4), FIELD(args[2]), IF_BITS(PROT_EXEC, 1), RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW),
        UNLESS(SYS_mprotect, 4), FIELD(args[2]), IF_BITS(PROT_EXEC, 1), RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW),
    };
    unsigned short at = 15;
    for (int i = 0; i < COUNT; i++) {
        filter[at++] = (struct sock_filter)UNLESS((unsigned)allowed[i], 1);
        filter[at++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    }
    filter[at++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
    set_filter(filter, at);
}
#endif
