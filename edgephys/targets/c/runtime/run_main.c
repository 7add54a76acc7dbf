/* Main program of edgephys' C targets: MAIN X Y COUNT
 *
 * X holds COUNT vectors of INPUTS int64, Y gets COUNT vectors of RESULTS int64: the outputs or, of a source compiled to
 * be looked at, every layer's integers. HEADER declares RUN, INPUT_T, OUTPUT_T; NOTE is what a layer is noted with.
 * Each buffer is a block of the heap of exactly its size, so that a sanitiser sees every access outside of it; the
 * functions that allocate them name them in its report. The arena is filled with noise before every vector: the source
 * has no state.
 */

#include HEADER

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t *noted;

#ifdef NOTE
void NOTE(size_t at, int64_t value);
void NOTE(size_t at, int64_t value)
{
    noted[at] = value;
}
#endif

static void *allocated(size_t size)
{
    void *const block = malloc(size ? size : 1);
    if (!block)
        exit(7);
    return block;
}

__attribute__((noinline)) static INPUT_T *input_buffer(void)
{
    return allocated(sizeof(INPUT_T) * INPUTS);
}

__attribute__((noinline)) static OUTPUT_T *output_buffer(void)
{
    return allocated(sizeof(OUTPUT_T) * OUTPUTS);
}

__attribute__((noinline)) static void *arena_buffer(void)
{
    return allocated(ARENA_BYTES);
}

int main(int argc, char **argv)
{
    static int64_t read[INPUTS], results[RESULTS];
    INPUT_T *const input = input_buffer();
    OUTPUT_T *const output = output_buffer();
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
    noted = results;
    for (long v = 0; v < count; v++) {
        if (fread(read, sizeof read, 1, from) != 1)
            return 4;
        for (size_t i = 0; i < INPUTS; i++)
            input[i] = (INPUT_T)read[i];
        memset(arena, 0xA5, ARENA_BYTES);
        RUN(input, output, arena);
#ifndef NOTE
        for (size_t i = 0; i < OUTPUTS; i++)
            results[i] = (int64_t)output[i];
#endif
        if (fwrite(results, sizeof results, 1, to) != 1)
            return 5;
    }
    return fclose(to) ? 6 : 0;
}
