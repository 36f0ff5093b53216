//! Types of the kernel's own variables, which BTF leaves out unless they are per-CPU.
//!
//! *What it is*: what the declarations in the kernel's sources say, by name, and by the ends and beginnings of names that
//! the kernel gives to tables of functions. A type that a kernel does not have is passed over.
//!
//! *What it is not*: believed. Each is held against the room that the variable has and against what lies there.
//!
//! *How types are written*: `*T` is a pointer, `[]T` an array as long as there is room, `{a,b}` the structure with these
//! members, all else the name of a structure, union, enumeration, typedef or number as BTF has it.

/// Variables by their names.
const NAMES: &[(&str, &str)] = &[
    // Tasks and what each has (init/init_task.c and beside it).
    ("init_task", "task_struct"),
    ("init_mm", "mm_struct"),
    ("init_files", "files_struct"),
    ("init_fs", "fs_struct"),
    ("init_cred", "cred"),
    ("init_signals", "signal_struct"),
    ("init_sighand", "sighand_struct"),
    ("init_struct_pid", "pid"),
    ("init_nsproxy", "nsproxy"),
    ("init_pid_ns", "pid_namespace"),
    ("init_user_ns", "user_namespace"),
    ("init_uts_ns", "uts_namespace"),
    ("init_ipc_ns", "ipc_namespace"),
    ("init_time_ns", "time_namespace"),
    ("init_cgroup_ns", "cgroup_namespace"),
    ("init_net", "net"),
    ("init_css_set", "css_set"),
    ("init_groups", "group_info"),
    ("root_user", "user_struct"),
    ("pid_hash", "*hlist_head"),
    ("pidhash_shift", "unsigned int"),
    ("root_task_group", "task_group"),
    ("task_groups", "list_head"),
    ("cgrp_dfl_root", "cgroup_root"),
    ("cgroup_roots", "list_head"),
    ("cgroup_subsys", "[]*cgroup_subsys"),
    ("cap_last_cap", "int"),
    // Modules, symbols, tracing, BPF.
    ("modules", "list_head"),
    ("mod_tree", "mod_tree_root"),
    ("module_addr_min", "long unsigned int"),
    ("module_addr_max", "long unsigned int"),
    ("module_kset", "*kset"),
    ("modules_disabled", "int"),
    ("taint_flags", "[]taint_flag"),
    ("tainted_mask", "long unsigned int"),
    ("ftrace_ops_list", "*ftrace_ops"),
    ("ftrace_list_end", "ftrace_ops"),
    ("global_ops", "ftrace_ops"),
    ("ftrace_mod_maps", "list_head"),
    ("ftrace_ops_trampoline_list", "list_head"),
    ("ftrace_trace_arrays", "list_head"),
    ("ftrace_events", "list_head"),
    ("__start___tracepoints_ptrs", "[]int"),
    ("kprobe_table", "[]hlist_head"),
    ("kprobe_insn_slots", "kprobe_insn_cache"),
    ("kprobe_optinsn_slots", "kprobe_insn_cache"),
    ("uprobes_tree", "rb_root"),
    ("bpf_kallsyms", "list_head"),
    ("btf_modules", "list_head"),
    ("prog_idr", "idr"),
    ("map_idr", "idr"),
    ("link_idr", "idr"),
    ("btf_idr", "idr"),
    // The log, time, the machine.
    ("prb", "*printk_ringbuffer"),
    ("printk_rb_static", "printk_ringbuffer"),
    ("log_buf", "*char"),
    ("log_buf_len", "unsigned int"),
    ("log_first_idx", "unsigned int"),
    ("log_next_idx", "unsigned int"),
    ("log_end", "unsigned int"),
    ("console_drivers", "*console"),
    ("console_list", "hlist_head"),
    ("tk_core", "{seq,timekeeper}"),
    ("timekeeper", "timekeeper"),
    ("wall_to_monotonic", "timespec64"),
    ("total_sleep_time", "timespec64"),
    ("jiffies", "long unsigned int"),
    ("jiffies_64", "long long unsigned int"),
    ("clocksource_list", "list_head"),
    ("clockevent_devices", "list_head"),
    ("saved_command_line", "*char"),
    ("boot_command_line", "[]char"),
    ("linux_banner", "[]char"),
    ("linux_proc_banner", "[]char"),
    ("iomem_resource", "resource"),
    ("ioport_resource", "resource"),
    ("boot_cpu_data", "cpuinfo_x86"),
    ("cpu_khz", "unsigned int"),
    ("tsc_khz", "unsigned int"),
    ("nr_cpu_ids", "unsigned int"),
    ("nr_irqs", "int"),
    ("__cpu_online_mask", "cpumask"),
    ("__cpu_possible_mask", "cpumask"),
    ("__cpu_present_mask", "cpumask"),
    ("__cpu_active_mask", "cpumask"),
    ("__per_cpu_offset", "[]long unsigned int"),
    ("runqueues", "rq"),
    ("vmcoreinfo_data", "*unsigned char"),
    ("vmcoreinfo_size", "long unsigned int"),
    ("vmcoreinfo_note", "*unsigned int"),
    ("crashk_res", "resource"),
    ("crashk_low_res", "resource"),
    ("panic_timeout", "int"),
    ("panic_on_oops", "int"),
    ("kptr_restrict", "int"),
    ("randomize_va_space", "int"),
    // Tables that the processor and user programs enter by.
    ("idt_table", "[]gate_desc"),
    ("sys_call_table", "[]*void"),
    ("ia32_sys_call_table", "[]*void"),
    ("x32_sys_call_table", "[]*void"),
    ("compat_sys_call_table", "[]*void"),
    ("irq_desc_tree", "radix_tree_root"),
    ("sparse_irqs", "maple_tree"),
    ("vectors_limit", "int"),
    // Memory.
    ("mem_map", "*page"),
    ("mem_section", "**mem_section"),
    ("node_data", "[]*pglist_data"),
    ("contig_page_data", "pglist_data"),
    ("high_memory", "*void"),
    ("max_pfn", "long unsigned int"),
    ("max_low_pfn", "long unsigned int"),
    ("min_low_pfn", "long unsigned int"),
    ("phys_base", "long unsigned int"),
    ("page_offset_base", "long unsigned int"),
    ("vmalloc_base", "long unsigned int"),
    ("vmemmap_base", "long unsigned int"),
    ("kimage_voffset", "long long unsigned int"),
    ("memstart_addr", "long long int"),
    ("kimage_vaddr", "long long unsigned int"),
    ("vmap_area_list", "list_head"),
    ("vmap_area_root", "rb_root"),
    ("vmap_nodes", "*vmap_node"),
    ("nr_vmap_nodes", "int"),
    ("slab_caches", "list_head"),
    ("swap_info", "[]*swap_info_struct"),
    ("nr_swapfiles", "unsigned int"),
    ("hstates", "[]hstate"),
    ("shrinker_list", "list_head"),
    ("init_top_pgt", "[]pgd_t"),
    ("swapper_pg_dir", "[]pgd_t"),
    ("height_to_maxindex", "[]long unsigned int"),
    ("height_to_maxnodes", "[]long unsigned int"),
    // Files.
    ("super_blocks", "list_head"),
    ("file_systems", "*file_system_type"),
    ("mount_hashtable", "*hlist_head"),
    ("mountpoint_hashtable", "*hlist_head"),
    ("dentry_hashtable", "*hlist_bl_head"),
    ("inode_hashtable", "*hlist_head"),
    ("chrdevs", "[]*char_device_struct"),
    ("misc_list", "list_head"),
    ("bdev_map", "*kobj_map"),
    ("cdev_map", "*kobj_map"),
    ("tty_drivers", "list_head"),
    ("input_dev_list", "list_head"),
    ("input_handler_list", "list_head"),
    ("registered_fb", "[]*fb_info"),
    ("num_registered_fb", "int"),
    ("pci_root_buses", "list_head"),
    ("workqueues", "list_head"),
    ("kernfs_root", "*kernfs_root"),
    ("proc_root", "proc_dir_entry"),
    // The network.
    ("net_namespace_list", "list_head"),
    ("pernet_list", "list_head"),
    ("tcp_hashinfo", "inet_hashinfo"),
    ("udp_table", "udp_table"),
    ("udplite_table", "udp_table"),
    ("raw_v4_hashinfo", "raw_hashinfo"),
    ("raw_v6_hashinfo", "raw_hashinfo"),
    ("ping_table", "ping_table"),
    ("unix_socket_table", "[]hlist_head"),
    ("nl_table", "*netlink_table"),
    ("net_families", "[]*net_proto_family"),
    ("inet_protos", "[]*net_protocol"),
    ("inet6_protos", "[]*inet6_protocol"),
    ("inetsw", "[]list_head"),
    ("inetsw6", "[]list_head"),
    ("proto_list", "list_head"),
    ("ptype_all", "list_head"),
    ("ptype_base", "[]list_head"),
    ("tcp_prot", "proto"),
    ("tcpv6_prot", "proto"),
    ("udp_prot", "proto"),
    ("udpv6_prot", "proto"),
    ("raw_prot", "proto"),
    ("rawv6_prot", "proto"),
    ("unix_stream_proto", "proto"),
    ("unix_dgram_proto", "proto"),
    ("packet_proto", "proto"),
    ("netlink_proto", "proto"),
    // Who is told of what (include/linux/notifier.h).
    ("keyboard_notifier_list", "atomic_notifier_head"),
    ("panic_notifier_list", "atomic_notifier_head"),
    ("die_chain", "atomic_notifier_head"),
    ("reboot_notifier_list", "blocking_notifier_head"),
    ("module_notify_list", "blocking_notifier_head"),
    ("inetaddr_chain", "blocking_notifier_head"),
    ("inet6addr_chain", "atomic_notifier_head"),
    ("netdev_chain", "raw_notifier_head"),
    ("oom_notify_list", "blocking_notifier_head"),
    // The symbols themselves (kernel/kallsyms_internal.h).
    ("kallsyms_num_syms", "unsigned int"),
    ("kallsyms_relative_base", "unsigned long"),
    // Keys, cryptography, security.
    ("key_serial_tree", "rb_root"),
    ("key_user_tree", "rb_root"),
    ("crypto_alg_list", "list_head"),
    ("selinux_state", "selinux_state"),
];

/// Variables by how their names begin: the longest that fits counts.
const BEGINNINGS: &[(&str, &str)] = &[
    ("__tracepoint_", "tracepoint"),
    ("__ksymtab_", "kernel_symbol"),
    ("__SCK__", "static_call_key"),
    ("__bpf_trace_tp_map_", "bpf_raw_event_map"),
    ("__param_", "kernel_param"),
    ("__param_str_", "[]char"),
    ("__param_string_", "kparam_string"),
    ("__param_arr_", "kparam_array"),
    ("__param_ops_", "kernel_param_ops"),
];

/// Variables by how their names end: the longest that fits counts.
const ENDS: &[(&str, &str)] = &[
    ("_fops", "file_operations"),
    ("_file_ops", "file_operations"),
    ("_file_operations", "file_operations"),
    ("_dir_operations", "file_operations"),
    ("_proc_ops", "proc_ops"),
    ("_seq_ops", "seq_operations"),
    ("_seq_op", "seq_operations"),
    ("_sops", "super_operations"),
    ("_super_ops", "super_operations"),
    ("_super_operations", "super_operations"),
    ("_inode_operations", "inode_operations"),
    ("_iops", "inode_operations"),
    ("_dentry_operations", "dentry_operations"),
    ("_dentry_ops", "dentry_operations"),
    ("_dops", "dentry_operations"),
    ("_aops", "address_space_operations"),
    ("_vm_ops", "vm_operations_struct"),
    ("_fs_type", "file_system_type"),
    ("_stream_ops", "proto_ops"),
    ("_dgram_ops", "proto_ops"),
    ("_seqpacket_ops", "proto_ops"),
    ("_sockraw_ops", "proto_ops"),
    ("tcp4_seq_afinfo", "tcp_seq_afinfo"),
    ("tcp6_seq_afinfo", "tcp_seq_afinfo"),
    ("udp4_seq_afinfo", "udp_seq_afinfo"),
    ("udp6_seq_afinfo", "udp_seq_afinfo"),
    ("udplite4_seq_afinfo", "udp_seq_afinfo"),
    ("udplite6_seq_afinfo", "udp_seq_afinfo"),
    ("_tty_ops", "tty_operations"),
    ("_netdev_ops", "net_device_ops"),
    ("_ethtool_ops", "ethtool_ops"),
    ("_link_ops", "rtnl_link_ops"),
    ("_pm_ops", "dev_pm_ops"),
    ("_ktype", "kobj_type"),
    ("_attr_group", "attribute_group"),
    ("_notifier_list", "blocking_notifier_head"),
    ("_net_ops", "pernet_operations"),
    ("_genl_family", "genl_family"),
    ("_sched_class", "sched_class"),
    ("_key_type", "key_type"),
];

/// A rule, and whether it is by the whole name.
pub(super) struct Rule {
    pub(super) expression: &'static str,
    pub(super) exact: bool,
}

/// What the variable with this name may be.
pub(super) fn rule(name: &str) -> Option<Rule> {
    if let Some((_, expression)) = NAMES.iter().find(|(own, _)| *own == name) {
        return Some(Rule { expression, exact: true });
    }
    let end = ENDS.iter().filter(|(end, _)| name.ends_with(end)).max_by_key(|(end, _)| end.len());
    let beginning = || BEGINNINGS.iter().filter(|(own, _)| name.starts_with(own)).max_by_key(|(own, _)| own.len());
    // A parameter may be called anything: `__param_str_ftrace_ops` begins more plainly than it ends.
    let found = if name.starts_with("__") { beginning().or(end) } else { end };
    found.map(|(_, expression)| Rule { expression, exact: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_once_and_the_longest_end_counts() {
        let mut names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair.first() != pair.last()));
        let expression = |name| rule(name).map(|rule| rule.expression);
        assert_eq!(expression("sockfs_dentry_operations"), Some("dentry_operations"));
        assert_eq!(expression("proc_pid_cmdline_ops"), None);
        assert_eq!(expression("udplite6_seq_afinfo"), Some("udp_seq_afinfo"));
        assert_eq!(expression("modules"), Some("list_head"));
    }
}
