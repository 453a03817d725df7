/* SPDX-License-Identifier: Apache-2.0 */
/* hugeheap - large pages for a large heap.
 *
 * A fork copies the page table, and everybody waits for it: some 30 ms a gigabyte with pages of
 * 4 KiB, hardly anything with pages of 2 MiB. The kernel gives those where it is asked to; this
 * asks for the heap as it grows past a size, in steps large enough to be worth it. Does nothing
 * where the kernel has no large pages. */
#ifndef TTG_IO_HUGEHEAP_H
#define TTG_IO_HUGEHEAP_H

#include <stddef.h>

struct hugeheap {
    char *start, *asked; /* asked: up to here the kernel has been told */
};

void hugeheap_init(struct hugeheap *h);
/* Call it now and then from the thread that allocates: costs nothing while the heap stays. */
void hugeheap_grow(struct hugeheap *h);

/* How long it is now, with its holes. */
size_t hugeheap_bytes(const struct hugeheap *h);

/* Gives the heap's memory back without a word to the allocator: for a forked child that has only
 * the disk to wait for, so that what its parent changes meanwhile is not kept twice. Nothing that
 * was allocated since hugeheap_init may be touched afterwards, and nothing be allocated. */
void hugeheap_leave(const struct hugeheap *h);

#endif
