/* SPDX-License-Identifier: Apache-2.0 */
#include "io/hugeheap.h"

#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAP_LARGE_BYTES = 64 << 20, HEAP_STEP_BYTES = 32 << 20, PAGE_BYTES = 2 << 20 };

void hugeheap_init(struct hugeheap *h)
{
    h->start = h->asked = sbrk(0);
}

void hugeheap_grow(struct hugeheap *h)
{
    char *end = sbrk(0);
    if (end - h->asked < PAGE_BYTES || end - h->start < HEAP_LARGE_BYTES)
        return;
    /* From now on it grows in steps, so that pages are asked for before they are touched. */
    mallopt(M_TOP_PAD, HEAP_STEP_BYTES);
    uintptr_t from = ((uintptr_t)h->asked + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uintptr_t to = (uintptr_t)end / PAGE_BYTES * PAGE_BYTES;
    if (to > from)
        madvise(h->asked + (from - (uintptr_t)h->asked), to - from, MADV_HUGEPAGE);
    h->asked += to - (uintptr_t)h->asked;
}

size_t hugeheap_bytes(const struct hugeheap *h)
{
    return h->start ? (size_t)((char *)sbrk(0) - h->start) : 0;
}

void hugeheap_leave(const struct hugeheap *h)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)h->start;
    uintptr_t from = (start + page - 1) / page * page, to = (uintptr_t)sbrk(0) / page * page;
    if (h->start && to > from)
        madvise(h->start + (from - start), to - from, MADV_DONTNEED);
}
