/* Main program of the roll-out of edgephys' C targets: MAIN X Y COUNT
 *
 * X holds COUNT inputs of INPUTS int64, Y gets the state of each after every run of RUNS steps, which go on where the
 * last one ended; a run of no steps stands before the first one. HEADER declares ROLLOUT and INPUT_T. State and arena
 * are blocks of the heap of exactly their size, so that a sanitiser sees every access outside of them; the functions
 * that allocate them name them in its report. The arena is filled with noise before each call: the source has no state.
 */

#define _POSIX_C_SOURCE 200112L

#include HEADER

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocated(size_t size)
{
    const size_t alignment = ROLLOUT_ALIGNMENT < sizeof(void *) ? sizeof(void *) : ROLLOUT_ALIGNMENT;
    void *block;
    if (posix_memalign(&block, alignment, size))
        exit(7);
    return block;
}

__attribute__((noinline)) static INPUT_T *input_buffer(void)
{
    return allocated(sizeof(INPUT_T) * INPUTS);
}

__attribute__((noinline)) static void *arena_buffer(void)
{
    return allocated(ROLLOUT_ARENA_BYTES);
}

int main(int argc, char **argv)
{
    static const size_t runs[] = {RUNS};
    static int64_t numbers[INPUTS];
    INPUT_T *const state = input_buffer();
    void *const arena = arena_buffer();
    FILE *from, *to;
    long count;
    if (argc != 4)
        return 2;
    count = strtol(argv[3], NULL, 10);
    from = fopen(argv[1], "rb");
    to = fopen(argv[2], "wb");
    if (!from || !to)
        return 3;
    for (long v = 0; v < count; v++) {
        if (fread(numbers, sizeof numbers, 1, from) != 1)
            return 4;
        for (size_t i = 0; i < INPUTS; i++)
            state[i] = (INPUT_T)numbers[i];
        ROLLOUT(state, 0, arena);
        for (size_t run = 0; run < sizeof runs / sizeof *runs; run++) {
            memset(arena, 0xA5, ROLLOUT_ARENA_BYTES);
            ROLLOUT(state, runs[run], arena);
            for (size_t i = 0; i < INPUTS; i++)
                numbers[i] = (int64_t)state[i];
            if (fwrite(numbers, sizeof numbers, 1, to) != 1)
                return 5;
        }
    }
    return fclose(to) ? 6 : 0;
}
