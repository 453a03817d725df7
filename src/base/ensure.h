/* SPDX-License-Identifier: Apache-2.0 */
/* ensure - stop at once when our own logic is wrong.
 *
 * Stays in release builds: a program that goes on after a broken invariant writes wrong results,
 * a crash only costs a restart, which is our normal way to start. Prints where, then the ring of
 * recent debug events, then aborts. Never for bytes that came from a peer, a file or a user. */
#ifndef TTG_BASE_ENSURE_H
#define TTG_BASE_ENSURE_H

#define ensure(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            ensure_failed(#cond, __FILE__, __LINE__);                                              \
    } while (0)

_Noreturn void ensure_failed(const char *what, const char *file, int line);

#endif
