# Debug information that means harm, written by hand (DWARF 4, x86-64): types that contain themselves, arrays of more than
# there is memory for, expressions that run in circles. One variable is sound.
	.text
	.globl	trap
trap:
	nop
	nop
	ret
.Lend:
	.section	.debug_abbrev,"",@progbits
	# unit: low_pc, high_pc
	.byte	1, 0x11, 1, 0x11, 0x01, 0x12, 0x07, 0, 0
	# function: name, low_pc, high_pc, frame_base
	.byte	2, 0x2e, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x07, 0x40, 0x18, 0, 0
	# variable: name, type, location
	.byte	3, 0x34, 0, 0x03, 0x08, 0x49, 0x13, 0x02, 0x18, 0, 0
	# typedef: name, type
	.byte	4, 0x16, 0, 0x03, 0x08, 0x49, 0x13, 0, 0
	# structure: name, byte_size
	.byte	5, 0x13, 1, 0x03, 0x08, 0x0b, 0x07, 0, 0
	# member: name, type, data_member_location
	.byte	6, 0x0d, 0, 0x03, 0x08, 0x49, 0x13, 0x38, 0x07, 0, 0
	# array: type
	.byte	7, 0x01, 1, 0x49, 0x13, 0, 0
	# subrange: upper_bound
	.byte	8, 0x21, 0, 0x2f, 0x07, 0, 0
	# base type: name, byte_size, encoding
	.byte	9, 0x24, 0, 0x03, 0x08, 0x0b, 0x0b, 0x3e, 0x0b, 0, 0
	# pointer: type
	.byte	10, 0x0f, 0, 0x49, 0x13, 0, 0
	# function type: type
	.byte	11, 0x15, 1, 0x49, 0x13, 0, 0
	# parameter: type
	.byte	12, 0x05, 0, 0x49, 0x13, 0, 0
	# constant type: type
	.byte	13, 0x26, 0, 0x49, 0x13, 0, 0
	# variable: abstract_origin
	.byte	14, 0x34, 0, 0x31, 0x13, 0, 0
	# subrange: upper_bound, as a reference
	.byte	15, 0x21, 0, 0x2f, 0x13, 0, 0
	.byte	0
	.section	.debug_info,"",@progbits
.Linfo:
	.long	.Linfo_end - .Linfo_start
.Linfo_start:
	.short	4
	.long	.debug_abbrev
	.byte	8
	.byte	1
	.quad	trap, .Lend - trap
.Lint:
	.byte	9
	.asciz	"int"
	.byte	4, 5
.Ltypedef:
	.byte	4
	.asciz	"circle"
	.long	.Ltypedef - .Linfo
.Lto:
	.byte	4
	.asciz	"to"
	.long	.Lfro - .Linfo
.Lfro:
	.byte	13
	.long	.Lto - .Linfo
.Lself:
	.byte	5
	.asciz	"self"
	.quad	1 << 40
	.rept	40
	.byte	6
	.asciz	"in"
	.long	.Lself - .Linfo
	.quad	8
	.endr
	.byte	0
.Larray:
	.byte	7
	.long	.Larray - .Linfo
	.byte	8
	.quad	1 << 62
	.byte	0
.Lhuge:
	.byte	7
	.long	.Lint - .Linfo
	.rept	20
	.byte	8
	.quad	1 << 40
	.endr
	.byte	0
.Lpointer:
	.byte	10
	.long	.Lpointer - .Linfo
.Lfunction:
	.byte	11
	.long	.Lfunction - .Linfo
	.rept	30
	.byte	12
	.long	.Lfunction - .Linfo
	.endr
	.byte	0
.Lbound:
	.byte	7
	.long	.Lint - .Linfo
	.byte	15
	.long	.Lbounded - .Linfo
	.byte	0
	.byte	2
	.asciz	"trap"
	.quad	trap, .Lend - trap
	# DW_OP_fbreg 0: the frame base counts from itself
	.byte	2, 0x91, 0
	.macro	variable name, type, bytes:vararg
	.byte	3
	.asciz	"\name"
	.long	\type - .Linfo
	.byte	2f - 1f
1:	.byte	\bytes
2:
	.endm
	# DW_OP_reg3
	variable sound, .Lint, 0x53
	variable circle, .Ltypedef, 0x53
	variable to, .Lto, 0x53
	# DW_OP_call_frame_cfa
	variable self, .Lself, 0x9c
	variable array, .Larray, 0x9c
	variable huge, .Lhuge, 0x9c
	variable pointer, .Lpointer, 0x53
	variable function, .Lfunction, 0x53
	# DW_OP_skip -3
	variable runs, .Lint, 0x2f, 0xfd, 0xff
	# DW_OP_lit0, DW_OP_dup, DW_OP_skip -4: the stack grows
	variable grows, .Lint, 0x30, 0x12, 0x2f, 0xfc, 0xff
	# DW_OP_fbreg 0
	variable base, .Lint, 0x91, 0
	# DW_OP_reg3, DW_OP_piece of 2^62 bytes, and one more
	variable piece, .Lint, 0x53, 0x93, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0x53, 0x93, 0x04
	# DW_OP_GNU_entry_value of an entry value
	variable entry, .Lint, 0xf3, 3, 0xf3, 1, 0x53, 0x9f
	# DW_OP_deref_size of 8 at an address that is nowhere
	variable nowhere, .Lint, 0x53, 0x94, 8, 0x9f
	# nothing, and an operation that there is not
	variable unknown, .Lint, 0xdf
.Lbounded:
	variable bounded, .Lbound, 0x9c
.Lorigin:
	.byte	14
	.long	.Lorigin - .Linfo
	.byte	0
	.byte	0
.Linfo_end:
