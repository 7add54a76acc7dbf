/* The loop that times emitted C, called by edgephys' bench through a shared library.
 *
 * Where RUN_BATCH is defined it computes a batch in one call, in its own arena; else a batch is a loop over RUN. One vector
 * is always a call of RUN.
 * HEADER declares RUN(const INPUT_T *, OUTPUT_T *, void *arena); ARENA_BYTES is the size of the arena, INPUTS and OUTPUTS
 * count the elements of a vector. The network is compiled by itself, so a call is a call.
 */

#define _POSIX_C_SOURCE 199309L

#include HEADER
#include <stddef.h>
#include <stdint.h>
#include <time.h>

static union {
    long long whole;
    double real;
    unsigned char bytes[(ARENA_BYTES) + 64];
#ifdef RUN_BATCH
    unsigned char batch_bytes[(BATCH_ARENA_BYTES) + 64];
#endif
} arena;

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void *aligned(void) { return (void *)(((uintptr_t)arena.bytes + 63) & ~(uintptr_t)63); }

/* Bytes of an element, negative where it has a sign. */
long edgephys_input(void) { return (INPUT_T)-1 < 0 ? -(long)sizeof(INPUT_T) : (long)sizeof(INPUT_T); }
long edgephys_output(void) { return (OUTPUT_T)-1 < 0 ? -(long)sizeof(OUTPUT_T) : (long)sizeof(OUTPUT_T); }

/* Time `calls` calls of `batch` vectors each, of the `count` vectors in x, from the first again after the last. There are
 * at least `batch` vectors. */
void edgephys_slice(const void *x, size_t count, void *y, size_t batch, size_t calls, long long *ns) {
    const INPUT_T *const first = x, *const end = first + count * INPUTS, *at = first;
    void *const work = aligned();
    for (size_t call = 0; call < calls; call++) {
        OUTPUT_T *to = y;
        const long long began = now_ns();
#ifdef RUN_BATCH
        if (batch > 1) {
            RUN_BATCH(at, to, batch, work);
            ns[call] = now_ns() - began;
            at = (size_t)(end - at) < 2 * batch * INPUTS ? first : at + batch * INPUTS;
            continue;
        }
#endif
        for (size_t vector = 0; vector < batch; vector++) {
            RUN(at, to, work);
            to += OUTPUTS;
            at += INPUTS;
            if (at == end)
                at = first;
        }
        ns[call] = now_ns() - began;
    }
}

/* Time nothing: what the clock itself adds. */
void edgephys_empty(size_t calls, long long *ns) {
    for (size_t call = 0; call < calls; call++) {
        const long long began = now_ns();
        ns[call] = now_ns() - began;
    }
}
