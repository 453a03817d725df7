/* SPDX-License-Identifier: Apache-2.0 */
/* name - a client's id as the name of its file, and back.
 *
 * `CLI1` is CLI1.csv. Letters, digits and - _ . @ + = stand for themselves, every other byte is
 * %XX, and so is a dot in front: no id leaves the directory, hides, or meets a file that is not
 * its own. The empty id is "%". On a file system that takes `a` for `A`, where two clients would
 * meet, lower-case letters are escaped too, except that an id without any upper-case ones keeps
 * them and ends in "%". What is too long for a name is cut, and ends in "%h" and a hash; the whole
 * id then stands in a file beside it, NAME.id. */
#ifndef TTG_STATE_NAME_H
#define TTG_STATE_NAME_H

#include "base/buf.h"

enum {
    NAME_BYTES_MAX = 200,        /* encoded, without ".csv" */
    NAME_CLIENT_BYTES_MAX = 4096 /* of an id */
};
#define NAME_ROWS ".csv"
#define NAME_ID ".id"
#define NAME_NEW ".new-" /* in front: being written, nobody's */

/* Adds the name (without an ending) to `out`. *ret_cut: it ends in a hash. */
int name_add(struct buf *out, struct str client, bool fold_case, bool *ret_cut);

/* The client of a name without its ending, into `out`. TTG_EPROTO: it is no name of ours.
 * TTG_EAGAIN: it was cut, the id is in the file beside it. */
int name_read(struct str name, struct buf *out);

#endif
