# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_afterimage_global_optspecs
    string join \n json csv color= q/quiet v/verbose debug= sysroot= symbols= no-network h/help V/version
end

function __fish_afterimage_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_afterimage_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_afterimage_using_subcommand
    set -l cmd (__fish_afterimage_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c afterimage -n "__fish_afterimage_needs_command" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_needs_command" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_needs_command" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_needs_command" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_needs_command" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_needs_command" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_needs_command" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_needs_command" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_needs_command" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_needs_command" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "demo" -d 'Crash a built-in sample program, capture it, explain it, and show each step\'s command'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "run" -d 'Run a program; if it, a thread or a child of it dies of a signal, write a dump and say why'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "capture" -d 'Take a dump of a running process, which goes on running'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "watch" -d 'Watch a running program, and take a dump of it when something happens'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "info" -d 'Say what file this is: format, type, system, time, completeness'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "explain" -d 'Say what happened, where, and why'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "show" -d 'Show one table'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "tables" -d 'List all tables with their columns and keys'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "convert" -d 'Write a dump in another form: an ELF core or minidump of a process; ELF, kdump, LiME, AVML, raw or Windows\' form of a machine; packed or not'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "extract" -d 'Write a process, its program, or a file that was in memory, out of the image of a Linux machine'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "man" -d 'Print the manual page, or that of a verb, or write one page a verb into a folder'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -s o -l output -d 'Keep the sample\'s dump in this folder (a new folder under the system\'s temporary one if not given)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l crash -d 'Crash here and now: what the demo\'s child process does'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -s o -l output -d 'Folder for the dumps' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l type -d 'How much of the process the dump shall hold' -r -f -a "complete\t'All mapped memory'
active\t'What cannot be had from files'
small\t'Registers, stacks and little more'"
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l name -d 'The process with this name' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l tree -d 'This process and all that descend from it, at one instant' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l cgroup -d 'All processes of this control group, at one instant: a path below /sys/fs/cgroup, or a full one' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l type -d 'How much of the process the dump shall hold' -r -f -a "complete\t'All mapped memory, files too'
active\t'What cannot be had from files; honours coredump_filter and MADV_DONTDUMP'
small\t'Registers, stacks and what they point at'
automatic\t'Active, or less if the disk has no room for it'"
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l format -d 'The container' -r -f -a "elf\t'An ELF core, for gdb, lldb, eu-stack'
minidump\t'A minidump, for minidump-stackwalk, WinDbg, lldb'"
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l how -d 'Take this way, and no other' -r -f -a "precopy\t'Copy while it runs'
snapshot\t'Copy as fork does'
stop\t'Read while it stands'"
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l max-pause -d 'The longest stop that the process can bear, as 20ms' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l max-size -d 'The longest dump, before packing, as 50M: the most useful memory first' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l compress -d 'Pack the dump' -r -f -a "zstd\t'Zstandard, in frames that can be read one by one'
none\t'Nothing'"
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -s o -l output -d 'The file, or a folder for the file, or - for standard output' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l force -d 'Replace an existing file'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l name -d 'Watch the only process of this name: its short name or its program\'s' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l cpu-above -d 'Processor time above this percentage of one processor (250: two and a half) for all of --for' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l cpu-below -d 'Processor time below this percentage for all of --for' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l for -d 'How long CPU or pressure must last [default: 10s for CPU, 2s for pressure]' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l memory-above -d 'Resident memory above this. Of several sizes each fires once' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l memory-below -d 'Resident memory below this' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l memory-step -d 'Resident memory grown by this since the start, and again at each further step' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l threads-above -d 'More threads than this' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l fds-above -d 'More open file descriptors than this' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l signal -d 'One of these signals is about to kill it, as SEGV,ABRT; `fatal` for any. Traces the program' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l hang -d 'No thread has run for this long. A server that merely has nothing to do looks the same' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l probe-http -d 'This address does not answer, or with a status of 500 or more. Plain http:// only' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l probe-command -d 'This command, run by `sh -c` with AFTERIMAGE_PID set, does not exit with 0' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l probe-timeout -d 'A probe that takes longer has failed' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l probe-failures -d 'So many failures in a row fire' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l probe-every -d 'Time between probes' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l pressure -d 'Tasks of its control group, or else of the machine, wait for memory, cpu or io, as memory=10 or io:full=5' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l cgroup-memory -d 'Memory of its control group above this percentage of the limit, without files that can be dropped' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l log -d 'A line appended to this file matches --match. Rotation is followed' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l match -d 'Regular expression for --log' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l at -d 'At this local time, as 03:30 or 03:30:15' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l every -d 'Again and again after this time' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l count -d 'End after so many dumps' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l cooldown -d 'No dump within this time after the last one. A death does not wait' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l interval -d 'Time between samples, at least 100ms' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l timeout -d 'Stop watching after this time' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l then -d 'Run this by `sh -c` after each dump, with AFTERIMAGE_DUMP, AFTERIMAGE_PID and AFTERIMAGE_TRIGGER set' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -s o -l output -d 'Folder for the dumps' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l type -d 'How much of the process the dump shall hold' -r -f -a "complete\t'All mapped memory, files too'
active\t'What cannot be had from files; honours coredump_filter and MADV_DONTDUMP'
small\t'Registers, stacks and what they point at'
automatic\t'Active, or less if the disk has no room for it'"
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l format -d 'The container' -r -f -a "elf\t'An ELF core, for gdb, lldb, eu-stack'
minidump\t'A minidump, for minidump-stackwalk, WinDbg, lldb'"
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l how -d 'Take this way, and no other' -r -f -a "precopy\t'Copy while it runs'
snapshot\t'Copy as fork does'
stop\t'Read while it stands'"
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l max-pause -d 'The longest stop that the process can bear, as 20ms' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l max-size -d 'The longest dump, before packing, as 50M: the most useful memory first' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l compress -d 'Pack the dump' -r -f -a "zstd\t'Zstandard, in frames that can be read one by one'
none\t'Nothing'"
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l launch -d 'Start this program and watch it. Everything after --launch belongs to it, so it comes last' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l wait -d 'With --name: wait until there is such a process'
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l exit -d 'It is about to end, in whatever way. Traces the program'
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand watch" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l locals -d 'Show the variables of the frames, where debug information tells of them'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l schema -d 'Print the JSON schema of all tables\' rows'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l markdown -d 'Print the manual of all tables as Markdown'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -s o -l output -d 'The new file; `-` is standard output, which must not be a terminal' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l format -d 'The container (the dump\'s own if not given)' -r -f -a "elf\t'An ELF core: of a process for gdb, lldb, eu-stack; of a machine for crash, drgn, makedumpfile'
minidump\t'A minidump, for minidump-stackwalk, WinDbg, lldb (of a process)'
kdump\t'kdump-compressed, as makedumpfile writes it (of a machine)'
lime\t'LiME, for volatility3 (of a machine)'
avml\t'AVML: LiME\'s ranges, packed with snappy (of a machine)'
raw\t'The byte of address N at place N (of a machine)'
windows\t'A complete crash dump of Windows (of a Windows machine)'"
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l type -d 'How much of the process it shall hold (as much as there is if not given)' -r -f -a "complete\t'All mapped memory'
active\t'What cannot be had from files'
small\t'Registers, stacks and little more'"
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l compress -d 'How to pack it (none if not given; zlib for the pages of a kdump)' -r -f -a "none\t'Nothing'
zstd\t'Zstandard: the file in frames that can be read one by one, or the pages of a kdump'
zlib\t'zlib (pages of a kdump)'
lzo\t'LZO (pages of a kdump)'
snappy\t'snappy (pages of a kdump)'"
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l threads -d 'Threads that read and pack a machine\'s memory (as many as there are processors if not given)' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l no-verify -d 'Do not read the new dump of a machine again to compare it'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l force -d 'Replace a file that is there'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l process -d 'This process, as an ELF core' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l executable -d 'The program that this process runs, as a file' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l file -d 'This file out of the page cache: its path, its inode number, or MAJOR:MINOR:INODE' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l module -d 'With --btf: those of this module instead, which go on where the kernel\'s end' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -s o -l output -d 'The new file; `-` is standard output, which must not be a terminal' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l system-map -d 'The kernel\'s symbols with their addresses as linked, as System.map has them'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l running -d 'With --system-map: all symbols where they ran, as /proc/kallsyms has them, those of modules and BPF programs too'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l btf -d 'The kernel\'s types as it carries them (BTF), as /sys/kernel/btf/vmlinux has them'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l isf -d 'The kernel\'s types and symbols for volatility3 (ISF, JSON); packed if the new file is called .xz or .gz'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l force -d 'Replace a file that is there'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand extract" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l debug -d 'A program, library, debug file, PDB or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l symbols -d 'Where symbols of Windows\' programs are: srv*FOLDER*URL keeps in FOLDER what the server at URL sends; folders, cache*FOLDER; several with ; between them' -r
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l no-network -d 'Ask no debuginfod and no symbol server, whatever DEBUGINFOD_URLS and --symbols say'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "demo" -d 'Crash a built-in sample program, capture it, explain it, and show each step\'s command'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "run" -d 'Run a program; if it, a thread or a child of it dies of a signal, write a dump and say why'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "capture" -d 'Take a dump of a running process, which goes on running'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "watch" -d 'Watch a running program, and take a dump of it when something happens'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "info" -d 'Say what file this is: format, type, system, time, completeness'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "explain" -d 'Say what happened, where, and why'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "show" -d 'Show one table'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "tables" -d 'List all tables with their columns and keys'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "convert" -d 'Write a dump in another form: an ELF core or minidump of a process; ELF, kdump, LiME, AVML, raw or Windows\' form of a machine; packed or not'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "extract" -d 'Write a process, its program, or a file that was in memory, out of the image of a Linux machine'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "man" -d 'Print the manual page, or that of a verb, or write one page a verb into a folder'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture watch info explain show tables convert extract completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
