/* SPDX-License-Identifier: Apache-2.0 */
#include "core/parts.h"
#include "core/xcmd.h"

#define W CORE_WRITE, 1, 1, 1
#define R CORE_READ, 1, 1, 1
#define SUB_W CORE_WRITE, 2, 2, 1
#define SUB_R CORE_READ, 2, 2, 1
#define S "stream"

const struct core_command stream_commands[] = {
    {"XADD", -5, W, S, "5.0.0",
     "key [NOMKSTREAM] [IDMPAUTO producer-id | IDMP producer-id idempotent-id] "
     "[<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
     "Appends an entry to a stream, with IDMP only if it is not there yet.", xadd},
    {"XLEN", 2, R, S, "5.0.0", "key", "The number of entries.", xlen},
    {"XRANGE", -4, R, S, "5.0.0", "key start end [COUNT count]", "Entries of a range of ids.",
     xrange},
    {"XREVRANGE", -4, R, S, "5.0.0", "key end start [COUNT count]",
     "Entries of a range of ids, the last one first.", xrange},
    {"XDEL", -3, W, S, "5.0.0", "key id [id ...]", "Deletes entries.", xdel},
    {"XDELEX", -5, W, S, "8.2.0", "key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
     "Deletes entries and looks after what groups remember of them.", xdelex},
    {"XACKDEL", -6, W, S, "8.2.0", "key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
     "Acknowledges entries and deletes them.", xdelex},
    {"XCFGSET", -4, W, S, "8.6.0", "key [IDMP-DURATION seconds] [IDMP-MAXSIZE count]",
     "Sets for how long and how many messages of a producer are known again.", xcfgset},
    {"XTRIM", -4, W, S, "5.0.0", "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
     "Deletes entries from the front.", xtrim},
    {"XSETID", -3, W, S, "5.0.0",
     "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
     "Sets the id up to which a stream counts.", xsetid},
    {"XREAD", -4, CORE_READ | CORE_BLOCKING, 0, 0, 0, S, "5.0.0",
     "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
     "Entries behind an id, waiting for them if asked to.", xread},
    {"XREADGROUP", -7, CORE_WRITE | CORE_BLOCKING, 0, 0, 0, S, "5.0.0",
     "GROUP group consumer [COUNT count] [BLOCK milliseconds] [CLAIM min-idle-time] [NOACK] "
     "STREAMS key [key ...] id [id ...]",
     "New entries for a consumer of a group, before them those that wait long with others, or "
     "those it has not acknowledged.",
     xread},
    {"XACK", -4, W, S, "5.0.0", "key group id [id ...]", "Acknowledges entries.", xack},
    {"XNACK", -7, W, S, "8.8.0",
     "key group <SILENT | FAIL | FATAL> IDS numids id [id ...] [RETRYCOUNT count] [FORCE]",
     "Gives pending entries back, for anybody to claim at once.", xnack},
    {"XPENDING", -3, R, S, "5.0.0", "key group [[IDLE min-idle-time] start end count [consumer]]",
     "What is delivered and not yet acknowledged.", xpending},
    {"XCLAIM", -6, W, S, "5.0.0",
     "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] "
     "[RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
     "Takes over pending entries.", xclaim},
    {"XAUTOCLAIM", -6, W, S, "6.2.0",
     "key group consumer min-idle-time start [COUNT count] [JUSTID]",
     "Takes over the pending entries that have waited long.", xautoclaim},
    {"XGROUP", -2, SUB_W, S, "5.0.0", "subcommand", "Manages groups and consumers.", xgroup},
    {"XGROUP CREATE", -5, SUB_W, S, "5.0.0",
     "key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]", "Creates a group.", xgroup},
    {"XGROUP SETID", -5, SUB_W, S, "5.0.0", "key group <id | $> [ENTRIESREAD entries-read]",
     "Sets up to where a group counts as served.", xgroup},
    {"XGROUP DESTROY", 4, SUB_W, S, "5.0.0", "key group", "Removes a group.", xgroup},
    {"XGROUP CREATECONSUMER", 5, SUB_W, S, "6.2.0", "key group consumer", "Creates a consumer.",
     xgroup},
    {"XGROUP DELCONSUMER", 5, SUB_W, S, "5.0.0", "key group consumer", "Removes a consumer.",
     xgroup},
    {"XGROUP HELP", 2, CORE_READ, 0, 0, 0, S, "5.0.0", "", "Shows help.", xgroup},
    {"XINFO", -2, SUB_R, S, "5.0.0", "subcommand", "Shows streams, groups and consumers.", xinfo},
    {"XINFO STREAM", -3, SUB_R, S, "5.0.0", "key [FULL [COUNT count]]", "Shows a stream.", xinfo},
    {"XINFO GROUPS", 3, SUB_R, S, "5.0.0", "key", "Shows the groups of a stream.", xinfo},
    {"XINFO CONSUMERS", 4, SUB_R, S, "5.0.0", "key group", "Shows the consumers of a group.",
     xinfo},
    {"XINFO HELP", 2, CORE_READ, 0, 0, 0, S, "5.0.0", "", "Shows help.", xinfo},
    {0},
};
