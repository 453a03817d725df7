/* SPDX-License-Identifier: Apache-2.0 */
/* error - every failure that ttg reports, in one table.
 *
 * Functions that can fail return 0 or one of these negative codes. `retry` says whether the same
 * call may succeed later without anybody changing anything. */
#ifndef TTG_ERROR_H
#define TTG_ERROR_H

/*        code  symbol         retry  text */
#define TTG_ERROR_TABLE(X)                                                                         \
    X(-1001, TTG_ENOMEM, 1, "out of memory")                                                       \
    X(-1002, TTG_EINVAL, 0, "invalid argument")                                                    \
    X(-1003, TTG_ERANGE, 0, "value out of range")                                                  \
    X(-1004, TTG_EFULL, 1, "limit reached")                                                        \
    X(-1005, TTG_ENOENT, 0, "not found")                                                           \
    X(-1006, TTG_EEXIST, 0, "exists already")                                                      \
    X(-1007, TTG_ESTALE, 0, "superseded by a newer attempt")                                       \
    X(-1008, TTG_ETIMEOUT, 1, "timed out")                                                         \
    X(-1009, TTG_EAGAIN, 1, "not ready yet")                                                       \
    X(-1010, TTG_ECLOSED, 1, "connection closed")                                                  \
    X(-1011, TTG_EUNREACH, 1, "not reachable")                                                     \
    X(-1012, TTG_EPROTO, 0, "protocol violation")                                                  \
    X(-1013, TTG_ECORRUPT, 0, "data damaged")                                                      \
    X(-1014, TTG_EIO, 0, "input/output error")                                                     \
    X(-1015, TTG_ENOSPC, 1, "no space left on device")                                             \
    X(-1016, TTG_EACCES, 0, "permission denied")                                                   \
    X(-1017, TTG_EAUTH, 0, "authentication failed")                                                \
    X(-1018, TTG_EVERSION, 0, "version not supported")                                             \
    X(-1019, TTG_EBUSY, 1, "in use")                                                               \
    X(-1020, TTG_ECANCELED, 0, "canceled")                                                         \
    X(-1021, TTG_EDONE, 0, "already done")                                                         \
    X(-1022, TTG_ECHILD, 1, "command failed")                                                      \
    X(-1023, TTG_EPERMANENT, 0, "command failed and asked not to be retried")                      \
    X(-1024, TTG_EUSAGE, 0, "wrong usage")                                                         \
    X(-1025, TTG_EUNSUPPORTED, 0, "not supported")                                                 \
    X(-1026, TTG_EUNKNOWN, 1, "outcome unknown")

enum ttg_error {
#define X(code, symbol, retry, text) symbol = (code),
    TTG_ERROR_TABLE(X)
#undef X
};

#endif
