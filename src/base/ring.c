/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ring.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static struct {
    _Atomic size_t next;
    struct {
        size_t len;
        char text[RING_LINE_BYTES_MAX + 1];
    } lines[RING_LINES];
} ring;

void ring_add(const char *line, size_t len)
{
    if (len > RING_LINE_BYTES_MAX)
        len = RING_LINE_BYTES_MAX;
    size_t i = atomic_fetch_add(&ring.next, 1) % RING_LINES;
    memcpy(ring.lines[i].text, line, len);
    ring.lines[i].text[len] = '\n';
    ring.lines[i].len = len + 1;
}

void ring_dump(int fd)
{
    size_t next = atomic_load(&ring.next);
    size_t first = next > RING_LINES ? next - RING_LINES : 0;
    for (size_t i = first; i < next; i++) {
        size_t len = ring.lines[i % RING_LINES].len;
        if (len > 0 && write(fd, ring.lines[i % RING_LINES].text, len) < 0)
            return;
    }
}
