# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_afterimage_global_optspecs
    string join \n json csv color= q/quiet v/verbose debug= sysroot= no-network h/help V/version
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
complete -c afterimage -n "__fish_afterimage_needs_command" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_needs_command" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_needs_command" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_needs_command" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_needs_command" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_needs_command" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_needs_command" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
complete -c afterimage -n "__fish_afterimage_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_needs_command" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "demo" -d 'Crash a built-in sample program, capture it, explain it, and show each step\'s command'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "run" -d 'Run a program; if it, a thread or a child of it dies of a signal, write a dump and say why'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "capture" -d 'Take a dump of a running process, which goes on running'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "info" -d 'Say what file this is: format, type, system, time, completeness'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "explain" -d 'Say what happened, where, and why'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "show" -d 'Show one table'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "tables" -d 'List all tables with their columns and keys'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "convert" -d 'Write a dump in another form: an ELF core or a minidump, packed or not'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "man" -d 'Print the manual page, or write one page a verb into a folder'
complete -c afterimage -n "__fish_afterimage_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -s o -l output -d 'Keep the sample\'s dump in this folder (a new folder under the system\'s temporary one if not given)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l crash -d 'Crash here and now: what the demo\'s child process does'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand demo" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -s o -l output -d 'Folder for the dumps' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l type -d 'How much of the process the dump shall hold' -r -f -a "complete\t'All mapped memory'
active\t'What cannot be had from files'
small\t'Registers, stacks and little more'"
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand run" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
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
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l force -d 'Replace an existing file'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand capture" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand info" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand explain" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand show" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l schema -d 'Print the JSON schema of all tables\' rows'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l markdown -d 'Print the manual of all tables as Markdown'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand tables" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -s o -l output -d 'The new file; `-` is standard output, which must not be a terminal' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l format -d 'The container (the dump\'s own if not given)' -r -f -a "elf\t'An ELF core, for gdb, lldb, eu-stack'
minidump\t'A minidump, for minidump-stackwalk, WinDbg, lldb'"
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l type -d 'How much of the process it shall hold (as much as there is if not given)' -r -f -a "complete\t'All mapped memory'
active\t'What cannot be had from files'
small\t'Registers, stacks and little more'"
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l compress -d 'How to pack it' -r -f -a "zstd\t'Zstandard, in frames that can be read one by one'
none\t'Nothing'"
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l force -d 'Replace a file that is there'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand convert" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand completions" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l color -d 'Colours: on a terminal, always, or never' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l debug -d 'A program, library, debug file or `.sym` file, or a folder with such files (may be repeated)' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l sysroot -d 'Look up the dump\'s paths under this folder' -r -F
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l json -d 'One JSON object a line'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l csv -d 'Comma-separated values with a line of column names'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -s q -l quiet -d 'No progress and no remarks'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -s v -l verbose -d 'Say more: how frames were found, all registers, where files were found'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -l no-network -d 'Ask no debuginfod server, whatever DEBUGINFOD_URLS says'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c afterimage -n "__fish_afterimage_using_subcommand man" -s V -l version -d 'Print version'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "demo" -d 'Crash a built-in sample program, capture it, explain it, and show each step\'s command'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "run" -d 'Run a program; if it, a thread or a child of it dies of a signal, write a dump and say why'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "capture" -d 'Take a dump of a running process, which goes on running'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "info" -d 'Say what file this is: format, type, system, time, completeness'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "explain" -d 'Say what happened, where, and why'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "show" -d 'Show one table'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "tables" -d 'List all tables with their columns and keys'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "convert" -d 'Write a dump in another form: an ELF core or a minidump, packed or not'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "man" -d 'Print the manual page, or write one page a verb into a folder'
complete -c afterimage -n "__fish_afterimage_using_subcommand help; and not __fish_seen_subcommand_from demo run capture info explain show tables convert completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
