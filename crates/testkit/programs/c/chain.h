/* NOINLINE makes a function a frame of its own under any optimisation: neither inlined nor cloned under another name.
   Every caller adds one to what it gets back, so that no call can become a jump. */
#ifndef CHAIN_H
#define CHAIN_H
#if defined(__clang__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noclone))
#endif
/* An address that no kernel hands out by itself: a mapping placed here is at the same place in every run. */
#define FIXED_PLACE 0x10000000000UL
#endif
