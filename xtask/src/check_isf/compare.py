"""Holds what volatility3's plugins said of a machine against what the machine said of itself.

compare.py OUT TRUTH: OUT has the plugins' JSON (run_plugins.py), TRUTH is the folder of a machine's truth.
Prints a line a plugin: name, rows, agreement; ends with 1 if one disagrees.

Traps: volatility3 masks addresses to 48 bits, and shows a socket once for each thread. Workers of the kernel come and go
between the truth and the stop, so they are left out.
"""

import glob
import gzip
import ipaddress
import json
import os
import re
import sys
import tarfile

out, folder = sys.argv[1:]
truth = json.load(open(f"{folder}/truth.json"))
processes = {process["pid"]: process for process in truth["processes"]}
MASK = (1 << 48) - 1


def load(name):
    text = open(f"{out}/{name}.json").read()
    return json.loads(text[text.index("[") :])


def flat(rows):
    for row in rows:
        yield row
        yield from flat(row.get("__children", []))


def worker(name):
    return name.startswith("kworker")


_symbols = {}


def symbols():
    """Names by masked address, as /proc/kallsyms had them."""
    if not _symbols:
        for line in gzip.open(f"{folder}/kallsyms.gz", "rt"):
            address, _, name = line.split()[:3]
            _symbols.setdefault(int(address, 16) & MASK, set()).add(name)
    return _symbols


def guest_files(pattern):
    """Files of /proc by name."""
    with tarfile.open(f"{folder}/guest-files.tar.gz") as tar:
        for member in tar:
            if re.fullmatch(pattern, member.name):
                yield member.name, tar.extractfile(member).read().decode(errors="replace")


def differ(ours, theirs, what):
    """A sentence on how two sets differ; empty if they do not."""
    ours, theirs = set(ours), set(theirs)
    if not theirs:
        return f"the truth has no {what}"
    missing, extra = theirs - ours, ours - theirs
    if missing or extra:
        return f"{len(missing)} {what} missing {sorted(missing, key=str)[:3]}, {len(extra)} too many {sorted(extra, key=str)[:3]}"
    return ""


def named(rows, address, symbol):
    """Whether each address has the name that /proc/kallsyms gives it."""
    wrong = [row for row in rows if row[symbol] not in symbols().get(row[address] & MASK, ())]
    return f"{len(wrong)} wrong names, such as {wrong[0]}" if wrong else ""


def tasks(rows, pid, name):
    ours = {(row[pid], row[name]) for row in rows if not worker(row[name])}
    theirs = {
        (pid, process["comm"][:15])
        for pid, process in processes.items()
        # volatility3 leaves out what has ended.
        if not worker(process["comm"]) and process["state"] != "Z"
    }
    ours = {task for task in ours if processes.get(task[0], {}).get("state") != "Z"}
    return differ(ours, theirs, "processes")


def pslist(rows):
    wrong = [row for row in rows if row["PID"] in processes and row["PPID"] != processes[row["PID"]]["ppid"]]
    return tasks(rows, "PID", "COMM") or (f"wrong parents: {wrong[:2]}" if wrong else "")


def psaux(rows):
    """Command lines, of which volatility3 shows the words with spaces between."""
    wrong = []
    for row in rows:
        process = processes.get(row["PID"])
        if process and process["cmdline"] and not process["kernel_thread"]:
            if (row["ARGS"] or "").split() != " ".join(process["cmdline"]).split():
                wrong.append((row["PID"], row["ARGS"], process["cmdline"]))
    return tasks(rows, "PID", "COMM") or (f"{len(wrong)} command lines differ: {wrong[:2]}" if wrong else "")


def kthreads(rows):
    theirs = {pid for pid, process in processes.items() if process["kernel_thread"] and not worker(process["comm"])}
    rows = [row for row in rows if not worker(row["Thread Name"])]
    # The first of them runs kthreadd itself and has no function of its own.
    return differ([row["TID"] for row in rows] + [2], theirs, "threads") or named(rows, "Handler Address", "Symbol")


def lsmod(rows):
    ours = {(row["Module Name"], row["Code Size"]) for row in rows}
    return differ(ours, {(module["name"], module["size"]) for module in truth["modules"]}, "modules")


def kmsg(rows):
    lines = {line.rstrip() for row in rows for line in row["line"].splitlines()}
    theirs = [line.split("] ", 1)[1].rstrip() for line in open(f"{folder}/dmesg.txt", errors="replace") if "] " in line]
    # volatility3 stops before the last record.
    missing = [line for line in theirs[:-1] if line and line not in lines]
    return f"{len(missing)} of {len(theirs)} lines missing: {missing[:2]}" if missing else ""


def sockstat(rows):
    """Sockets of the machine's first net namespace with owner and descriptor: the truth was read there."""
    ours, unix = set(), set()
    for row in rows:
        if row["Family"] in ("AF_INET", "AF_INET6") and row["Proto"] in ("TCP", "UDP"):
            address = str(ipaddress.ip_address(row["Source Addr"]))
            if row["Source Port"] in (0, "0"):
                # Not bound: /proc/net does not show it.
                continue
            ours.add((row["Proto"].lower(), address, int(row["Source Port"]), row["PID"], row["FD"]))
        if row["Family"] == "AF_UNIX":
            unix.add((int(row["Source Port"]), row["PID"], row["FD"]))
    theirs = {
        (socket["proto"].rstrip("6"), str(ipaddress.ip_address(socket["local"])), socket["lport"], *owner)
        for socket in truth["sockets"]
        if socket["proto"] in ("tcp", "tcp6", "udp", "udp6")
        for owner in socket["owners"]
    }
    theirs_unix = {(socket["inode"], *owner) for socket in truth["unix_sockets"] for owner in socket["owners"]}
    elsewhere = {row["PID"] for row in rows if row["NetNS"] != min(row["NetNS"] for row in rows)}
    ours = {socket for socket in ours if socket[3] not in elsewhere}
    unix = {socket for socket in unix if socket[1] not in elsewhere}
    return differ(ours, theirs, "sockets") or differ(unix, theirs_unix, "unix sockets")


def lsof(rows):
    # Pid 1 had files of /proc open while it read the truth.
    ours, wrong = {(row["PID"], row["FD"]) for row in rows if row["PID"] != 1}, []
    theirs = {(pid, fd["fd"]): fd for pid, process in processes.items() if pid != 1 for fd in process["fds"]}
    for row in rows:
        fd = theirs.get((row["PID"], row["FD"]))
        # Processes in other mount namespaces have other paths; sockets and pipes are by their numbers.
        if fd and fd["ino"] != row["Inode"]:
            wrong.append((row["PID"], row["FD"], row["Path"], row["Inode"], fd))
    return differ(ours, theirs, "descriptors") or (f"{len(wrong)} inodes differ: {wrong[:2]}" if wrong else "")


def mountinfo(rows):
    """Of pid 1's namespace: number, place, root, type and device."""
    theirs = set()
    for _, text in guest_files("proc/1/mountinfo"):
        for line in text.splitlines():
            left, right = line.split(" - ")
            words = left.split()
            theirs.add((int(words[0]), words[2], words[3], words[4], right.split()[0]))
    namespace = int(re.search(r"\d+", processes[1]["ns"]["mnt"]).group())
    ours = {
        (row["MOUNT ID"], row["MAJOR:MINOR"], row["ROOT"], row["MOUNT_POINT"], row["FSTYPE"])
        for row in rows
        if row["MNT_NS_ID"] == namespace
    }
    return differ(ours, theirs, "mounts")


def pagecache(rows):
    """Every program that runs has its inode there; of several names of one file, only one is shown."""
    there = {row["InodeNum"] for row in rows if row["FilePath"].startswith("/lab/")}
    wanted = {
        region["inode"]
        for process in processes.values()
        for region in process["maps"]
        if region["path"].startswith("/lab/") and not region["path"].endswith("(deleted)")
    }
    missing = wanted - there
    return f"{len(missing)} files missing: {sorted(missing)[:3]}" if missing or not wanted else ""


def maps(rows):
    """Of the processes that were asked for."""
    ours = {(row["PID"], row["Start"], row["End"], row["Flags"][:3]) for row in rows}
    asked, theirs = {region[0] for region in ours}, set()
    for pid in asked & processes.keys():
        for region in processes[pid]["maps"]:
            if region["path"] != "[vsyscall]":
                theirs.add((pid, int(region["start"], 16), int(region["end"], 16), region["perms"][:3]))
    return differ(ours, theirs, "regions") or ("" if len(asked) > 20 else f"only {len(asked)} processes")


def envars(rows):
    ours = {(row["PID"], row["KEY"], row["VALUE"]) for row in rows}
    theirs = set()
    for pid, process in processes.items():
        for one in process["environ"]:
            key, _, value = one.partition("=")
            theirs.add((pid, key, value))
    # What a process wrote over is no variable.
    missing = {one for one in theirs - ours if one[1] and one[2]}
    return f"{len(missing)} of {len(theirs)} missing: {[one[:2] for one in sorted(missing)[:3]]}" if missing else ""


def capabilities(rows):
    wrong = []
    for row in rows:
        process = processes.get(row["Pid"])
        if process:
            full, none = int(process["cap_eff"], 16) == 0x1FFFFFFFFFF, int(process["cap_eff"], 16) == 0
            shown = row["cap_effective"]
            if (shown == "all") != full or (shown == "") != none:
                wrong.append((row["Pid"], shown, process["cap_eff"]))
    return f"{len(wrong)} wrong: {wrong[:2]}" if wrong else ""


def iomem(rows):
    ours = {(row["Start"], row["End"], row["Name"]) for row in flat(rows)}
    theirs = set()
    for line in open(f"{folder}/iomem"):
        place, name = line.strip().split(" : ", 1)
        start, end = place.split("-")
        theirs.add((int(start, 16), int(end, 16), name))
    missing = theirs - ours
    return f"{len(missing)} missing: {sorted(missing)[:2]}" if missing else ""


def kallsyms(rows):
    """Those of the kernel itself: volatility3 2.28.2 fails at modules whose exports are told by distances."""
    ours = {(row["Addr"] & MASK, row["SymbolName"]) for row in rows}
    lines = [line.split() for line in gzip.open(f"{folder}/kallsyms.gz", "rt")]
    theirs = {(int(line[0], 16) & MASK, line[2]) for line in lines if len(line) == 3}
    missing = theirs - ours
    # volatility3 leaves out what has no place in memory.
    missing = {one for one in missing if one[0] >> 40}
    return f"{len(missing)} of {len(theirs)} missing: {sorted(missing)[:2]}" if missing else ""


def check_syscall(rows):
    if len(rows) < 300:
        return f"only {len(rows)} calls"
    return named(rows, "Handler Address", "Handler Symbol")


def check_idt(rows):
    return named([row for row in rows if row["Symbol"]], "Address", "Symbol")


def netfilter(rows):
    return named(rows, "Handler", "Symbol")


def tty(rows):
    return named(rows, "Address", "Symbol")


def boottime(rows):
    realtime, boot = float(truth["clock"][1]), float(truth["clock"][3])
    moment = __import__("datetime").datetime.fromisoformat(rows[0]["Boot Time"]).timestamp()
    return "" if abs(moment - (realtime - boot)) < 1 else f"{moment} and not {realtime - boot}"


def addresses(rows):
    theirs = set()
    for name, text in guest_files("proc/net/if_inet6"):
        for line in text.splitlines():
            words = line.split()
            theirs.add((str(ipaddress.ip_address(bytes.fromhex(words[0]))), words[5]))
    namespace = min(row["NetNS"] for row in rows)
    ours = {(row["IP"], row["Interface"]) for row in rows if ":" in row["IP"] and row["NetNS"] == namespace}
    return differ(ours, theirs, "IPv6 addresses")


def malfind(rows):
    """Memory that the guest made writable and executable."""
    theirs = {
        pid
        for pid, process in processes.items()
        for region in process["maps"]
        if "w" in region["perms"] and "x" in region["perms"]
    }
    ours = {row["PID"] for row in rows}
    return f"processes {sorted(theirs - ours)} missing" if theirs - ours else ""


CHECKS = {
    "linux.pslist.PsList": pslist,
    "linux.psaux.PsAux": psaux,
    "linux.pstree.PsTree": lambda rows: tasks(list(flat(rows)), "PID", "COMM"),
    "linux.kthreads.Kthreads": kthreads,
    "linux.lsmod.Lsmod": lsmod,
    "linux.kmsg.Kmsg": kmsg,
    "linux.sockstat.Sockstat": sockstat,
    "linux.lsof.Lsof": lsof,
    "linux.mountinfo.MountInfo": mountinfo,
    "linux.pagecache.Files": pagecache,
    "linux.proc.Maps": maps,
    "linux.envars.Envars": envars,
    "linux.capabilities.Capabilities": capabilities,
    "linux.iomem.IOMem": iomem,
    "linux.kallsyms.Kallsyms": kallsyms,
    "linux.check_syscall.Check_syscall": check_syscall,
    "linux.check_idt.Check_idt": check_idt,
    "linux.netfilter.Netfilter": netfilter,
    "linux.tty_check.tty_check": tty,
    "linux.boottime.Boottime": boottime,
    "linux.ip.Addr": addresses,
    "linux.malfind.Malfind": malfind,
}

bad = 0
for path in sorted(glob.glob(f"{out}/linux.*.json")):
    name = os.path.basename(path).removesuffix(".json")
    try:
        rows = load(name)
    except ValueError:
        print(f"{name}\t-\tno rows")
        bad += name in CHECKS
        continue
    if name not in CHECKS:
        print(f"{name}\t{len(list(flat(rows)))}\tnothing to compare with")
        continue
    try:
        why = CHECKS[name](rows)
    except (KeyError, ValueError, IndexError) as error:
        why = f"cannot be compared: {error!r}"
    bad += bool(why)
    print(f"{name}\t{len(list(flat(rows)))}\t{why or 'agrees'}")
sys.exit(bool(bad))
