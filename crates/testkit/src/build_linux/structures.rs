//! What the machine's kernel is made of. Members that walkers do not ask for are left out.

use super::Age;

/// Values of enumerators.
pub(super) const ENUMERATORS: [(&str, u32); 6] = [
    ("MM_FILEPAGES", 0),
    ("MM_ANONPAGES", 1),
    ("MM_SWAPENTS", 2),
    ("MM_SHMEMPAGES", 3),
    ("RWSEM_WAITING_FOR_WRITE", 0),
    ("RWSEM_WAITING_FOR_READ", 1),
];

/// The structures of a kernel of this age, in the notation of `types`.
pub(super) fn structures(age: Age) -> String {
    let old = age == Age::Old;
    let pick = |is_old: &str, later: &str| if old { is_old.to_owned() } else { later.to_owned() };
    let module = pick("core_layout module_layout, init_layout module_layout", "mem module_memory[7]");
    let namespace = pick("list list_head, mounts u32", "mounts rb_root, nr_mounts u32");
    let mount = pick("mnt_list list_head", "mnt_node rb_node");
    let thread_group = pick(", thread_group list_head", "");
    let (hot, path) = match age {
        Age::Middle => ("pcpu_hot ? preempt_count u32, current_task ptr", "f_path"),
        Age::Old => ("nothing = a u8", "f_path"),
        Age::New => ("tk_data ? seq u64, timekeeper timekeeper", "__f_path"),
    };
    format!(
        "
        list_head = next ptr, prev ptr
        hlist_node = next ptr, pprev ptr
        hlist_head = first ptr
        rb_node ? rb_left ptr, rb_right ptr, __rb_parent_color u64
        rb_root = rb_node ptr
        atomic = counter u64
        cpumask = bits u64[1]
        xarray ? xa_flags u32, xa_head ptr
        xa_node ? shift u8, slots ptr[64], count u8
        idr ? idr_rt xarray, idr_next u32
        pid_namespace ? idr idr, level u32
        upid ? nr u32, ns ptr
        pid ? tasks hlist_head[4], numbers upid[1]
        new_utsname ? sysname u8[65], nodename u8[65], release u8[65], version u8[65], machine u8[65]
        uts_namespace ? name new_utsname
        thread_struct ? sp u64, cr2 u64
        sched_info ? last_arrival u64, run_delay u64
        _names ? comm u8[16], cred ptr
        task_struct ? __state u32, stack ptr, flags u32, on_cpu u32, sched_info sched_info, tasks list_head, mm ptr, \
        exit_state u32, pid u32, tgid u32, real_parent ptr, pid_links hlist_node[4], thread_node list_head, \
        start_boottime u64, fs ptr, files ptr, nsproxy ptr, signal ptr, pi_blocked_on ptr, thread thread_struct, \
        _ _names{thread_group}
        inactive_task_frame ? r15 u64, bx u64, bp u64, ret_addr u64
        signal_struct ? thread_head list_head, oom_score_adj u16
        cred ? uid u32, euid u32
        nsproxy ? mnt_ns ptr, uts_ns ptr
        rq ? clock u64
        mutex ? owner atomic, wait_list list_head
        mutex_waiter ? list list_head, task ptr
        percpu_counter ? count u64, counters ptr
        mm_context ? vdso ptr
        maple_tree ? ma_flags u32, ma_root ptr
        maple_range_64 ? pivot u64[15], slot ptr[16]
        maple_arange_64 ? pivot u64[9], slot ptr[10], gap u64[10]
        mm_struct ? mm_mt maple_tree, pgd ptr, start_brk u64, brk u64, start_stack u64, arg_start u64, arg_end u64, \
        env_start u64, env_end u64, exe_file ptr, context mm_context, rss_stat percpu_counter[4], map_count u32
        vm_area_struct ? vm_start u64, vm_end u64, vm_flags u64, vm_file ptr, vm_ops ptr, vm_private_data ptr, \
        anon_name ptr, vm_pgoff u64
        qstr ? name ptr, len u32
        dentry ? d_parent ptr, d_name qstr, d_inode ptr, d_sb ptr, d_hash hlist_node
        inode ? i_mode u16, i_ino u64, i_sb ptr, i_private ptr, i_size u64
        file_system_type ? name ptr
        super_block ? s_type ptr, s_flags u64, s_subtype ptr, s_list list_head, s_mounts list_head
        vfsmount ? mnt_root ptr, mnt_sb ptr, mnt_flags u32
        mount ? mnt vfsmount, mnt_parent ptr, mnt_mountpoint ptr, mnt_devname ptr, mnt_ns ptr, mnt_instance list_head, \
        {mount}
        mnt_namespace ? {namespace}
        path ? mnt ptr, dentry ptr
        fs_struct ? root path, pwd path
        file ? f_op ptr, f_inode ptr, {path} path, private_data ptr, f_mode u32, f_pos u64
        fdtable ? max_fds u32, fd ptr, open_fds ptr
        files_struct ? fdt ptr, fdtab fdtable, fd_array ptr[64]
        socket ? sk ptr, state u32
        socket_alloc ! socket socket, vfs_inode inode
        sock_common ? skc_family u16, skc_state u8, skc_num u16, skc_dport u16, skc_rcv_saddr u32, skc_daddr u32, \
        skc_v6_rcv_saddr u8[16], skc_v6_daddr u8[16]
        sock ! __sk_common sock_common, sk_protocol u16, sk_type u16, sk_socket ptr
        unix_sock ! sk sock, addr ptr, peer ptr
        unix_address ? len u32, name u8[110]
        module_layout ? base ptr, size u32, text_size u32
        module_memory ? base ptr, size u32
        mod_arch_specific ? num_orcs u32, orc_unwind_ip ptr, orc_unwind ptr
        mod_kallsyms ? symtab ptr, num_symtab u32, strtab ptr
        module ? list list_head, name u8[56], taints u64, kallsyms ptr, arch mod_arch_specific, {module}
        prb_data_blk_lpos ? begin u64, next u64
        prb_desc ? state_var atomic, text_blk_lpos prb_data_blk_lpos
        printk_info ? seq u64, ts_nsec u64, text_len u16, level u8
        prb_data_ring ? size_bits u32, data ptr
        prb_desc_ring ? count_bits u32, descs ptr, infos ptr, head_id atomic, tail_id atomic
        printk_ringbuffer ? desc_ring prb_desc_ring, text_data_ring prb_data_ring
        timekeeper ? offs_real u64, offs_boot u64, xtime_sec u64, ktime_sec u64
        {hot}
        "
    )
    .replace("\\\n", " ")
}
