/* SPDX-License-Identifier: Apache-2.0 */
/* message - a task and a result, as they travel and as they are written to the output.
 *
 *     {"chunk_id":"00042","start_param":4100,"end_param":4199,"total_in_chunk":100,
 *      "created_at":"2026-02-09T10:00:00Z"}
 *     {"chunk_id":"00042","start_param":4100,"end_param":4199,"worker_id":"worker-0","attempt":1,
 *      "status":"complete","params_processed":100,"duration_seconds":0.35,
 *      "completed_at":"2026-02-09T10:00:12Z","result_summary":{"sum":414950,"count":100}}
 *
 * On AMQP and in files it is such a JSON object, on RESP the flat fields of a stream entry with the
 * same names; there result_summary is a JSON text. Members nobody here knows are kept as they are
 * and passed on: `extra`. A value of the wrong kind is TTG_EPROTO with a message that names it. */
#ifndef TTG_WIRE_MESSAGE_H
#define TTG_WIRE_MESSAGE_H

#include "base/buf.h"
#include "base/err.h"

enum { MESSAGE_CHUNK_ID_BYTES = 20, MESSAGE_EXTRA_BYTES_MAX = 65536 };

/* "00042": a chunk's number with at least five digits; the length. And back: TTG_EINVAL when it is
 * no number, TTG_ERANGE. */
size_t message_chunk_id(char *out, uint64_t chunk);
int message_chunk_number(struct str chunk_id, uint64_t *ret_chunk);

struct message_task {
    struct str chunk_id;
    int64_t start_param, end_param; /* inclusive */
    uint64_t total_in_chunk;        /* on its way in: 0 when it was not there */
    struct str created_at;          /* may be empty */
    struct str extra;               /* further members: "a":1,"b":"c" without braces */
};

enum message_value {
    MESSAGE_NOTHING,
    MESSAGE_SUM,           /* result_summary from sum and count */
    MESSAGE_SUMMARY,       /* result_summary as a JSON text */
    MESSAGE_OUTPUT,        /* output, or output_base64 where it is not UTF-8 */
    MESSAGE_OUTPUT_BASE64, /* only on its way in: still encoded */
};

struct message_result {
    struct str chunk_id;
    bool has_range; /* start_param and end_param are there */
    int64_t start_param, end_param;
    struct str worker_id;
    uint64_t attempt; /* 0: not there */
    struct str status;
    uint64_t params_processed;
    double duration_seconds;
    struct str completed_at;
    enum message_value value;
    __int128 sum;
    uint64_t count;
    struct str text; /* the summary or the output */
    struct str extra;
};

/* Adds the object, without a newline. TTG_EFULL, TTG_ENOMEM; `out` is then unchanged. */
int message_add_task(struct buf *out, const struct message_task *t);
int message_add_result(struct buf *out, const struct message_result *r);

/* Reads an object. The views point into `json` and into `room`, which is cleared first and has to
 * stay as long. A chunk_id may also be a number. */
int message_read_task(struct message_task *ret_task, struct str json, struct buf *room,
                      struct err *err);
int message_read_result(struct message_result *ret_result, struct str json, struct buf *room,
                        struct err *err);

/* The same from flat fields: start with an empty `room`, hand in each field, then end. The views
 * point into the fields and into `room`. */
struct message_reader {
    struct buf *room; /* extra members, as JSON */
    unsigned seen;
    struct err *err;
};
void message_reader_init(struct message_reader *r, struct buf *room, struct err *err);
int message_task_field(struct message_reader *r, struct message_task *t, struct str name,
                       struct str value);
int message_task_end(struct message_reader *r, struct message_task *t);
int message_result_field(struct message_reader *r, struct message_result *m, struct str name,
                         struct str value);
int message_result_end(struct message_reader *r, struct message_result *m);

#endif
