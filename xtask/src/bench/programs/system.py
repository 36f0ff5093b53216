"""drgn's part of `cargo xtask bench system`: VMLINUX DUMP processes|stacks|sockets."""
import ipaddress
import socket
import sys

import drgn
from drgn.helpers.linux.fs import for_each_file
from drgn.helpers.linux.pid import for_each_task

vmlinux, dump, what = sys.argv[1:]
prog = drgn.Program()
prog.set_core_dump(dump)
prog.load_debug_info([vmlinux])


def processes():
    for task in for_each_task(prog):
        print(task.pid.value_(), task.real_parent.tgid.value_(), task.comm.string_().decode())


def stacks():
    for task in for_each_task(prog):
        print(task.pid.value_(), task.comm.string_().decode())
        try:
            print(prog.stack_trace(task))
        except ValueError as error:  # it runs
            print(" ", error)


def address(common):
    if common.skc_family.value_() == socket.AF_INET:
        packed = common.skc_rcv_saddr.value_().to_bytes(4, "little")
    else:
        packed = bytes(common.skc_v6_rcv_saddr.in6_u.u6_addr8.value_())
    return "%s:%d" % (ipaddress.ip_address(packed), common.skc_num.value_())


def sockets():
    operations = prog["socket_file_ops"].address_of_()
    for task in for_each_task(prog):
        if not task.files:
            continue
        for descriptor, file in for_each_file(task):
            if file.f_op != operations:
                continue
            one = drgn.cast("struct socket *", file.private_data)
            common = getattr(one.sk, "__sk_common")
            family = common.skc_family.value_()
            inet = family in (socket.AF_INET, socket.AF_INET6)
            print(task.pid.value_(), descriptor, family, one.type.value_(), address(common) if inet else "-")


{"processes": processes, "stacks": stacks, "sockets": sockets}[what]()
