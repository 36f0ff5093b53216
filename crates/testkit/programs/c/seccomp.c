/* Makes a system call that its own seccomp filter answers with SIGSYS: mkdir, number 83 on x86-64. */
#include "chain.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

NOINLINE int make_folder(const char *name)
{
    return (int)syscall(SYS_mkdir, name, 0755); /* CALL */
}

NOINLINE int save(const char *name)
{
    return make_folder(name) + 1;
}

NOINLINE int enter_sandbox(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mkdir, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(void)
{
    if (enter_sandbox() != 0)
        return 2;
    return save("forbidden") + 1;
}
