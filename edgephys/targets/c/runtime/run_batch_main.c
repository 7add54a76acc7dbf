/* Main program of the entry point for many events of edgephys' C targets: MAIN X Y COUNT
 *
 * X holds COUNT vectors of INPUTS int64, Y gets COUNT vectors of OUTPUTS int64. HEADER declares RUN_BATCH, INPUT_T and
 * OUTPUT_T. Calls are for no event, for one, for one less than a block, a block, one more, and for all that are left;
 * those with fewer left take what there is. Each call has buffers on the heap of exactly its size, so that a sanitiser
 * sees every access outside of them; the functions that allocate them name them in its report. The arena is filled with
 * noise before each call: the source has no state. With NOTE, which a source that is compiled to be looked at calls, Y
 * gets the NOTED integers of each event's layers behind its outputs, and no call has more events than a block.
 */

#define _POSIX_C_SOURCE 200112L

#include HEADER

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef NOTE
static int64_t noted[BATCH_LANES][NOTED];
void NOTE(size_t lane, size_t at, int64_t value);
void NOTE(size_t lane, size_t at, int64_t value)
{
    noted[lane][at] = value;
}

void NOTE_OF_ONE(size_t at, int64_t value);
void NOTE_OF_ONE(size_t at, int64_t value) /* of the entry point for one event, which may be called event after event */
{
    noted[0][at] = value;
}
#endif

static void *allocated(size_t size)
{
    const size_t alignment = BATCH_ALIGNMENT < sizeof(void *) ? sizeof(void *) : BATCH_ALIGNMENT;
    void *block;
    if (posix_memalign(&block, alignment, size ? size : 1))
        exit(7);
    return block;
}

__attribute__((noinline)) static INPUT_T *input_buffer(size_t count)
{
    return allocated(sizeof(INPUT_T) * INPUTS * count);
}

__attribute__((noinline)) static OUTPUT_T *output_buffer(size_t count)
{
    return allocated(sizeof(OUTPUT_T) * OUTPUTS * count);
}

__attribute__((noinline)) static void *arena_buffer(void)
{
    return allocated(BATCH_ARENA_BYTES);
}

int main(int argc, char **argv)
{
    const size_t sizes[] = {0, 1, BATCH_LANES - 1, BATCH_LANES, BATCH_LANES + 1};
    static int64_t read[INPUTS], results[OUTPUTS];
    size_t left, call = 0;
    FILE *from, *to;
    if (argc != 4)
        return 2;
    left = strtoul(argv[3], NULL, 10);
    from = fopen(argv[1], "rb");
    to = fopen(argv[2], "wb");
    if (!from || !to)
        return 3;
    while (left > 0) {
        const size_t wanted = call < sizeof sizes / sizeof *sizes ? sizes[call] : left;
#ifdef NOTE
        const size_t most = wanted < BATCH_LANES ? wanted : BATCH_LANES;
#else
        const size_t most = wanted;
#endif
        const size_t count = most < left ? most : left;
        INPUT_T *const input = input_buffer(count);
        OUTPUT_T *const output = output_buffer(count);
        void *const arena = arena_buffer();
        for (size_t v = 0; v < count; v++) {
            if (fread(read, sizeof read, 1, from) != 1)
                return 4;
            for (size_t i = 0; i < INPUTS; i++)
                input[INPUTS * v + i] = (INPUT_T)read[i];
        }
        memset(arena, 0xA5, BATCH_ARENA_BYTES);
        RUN_BATCH(input, output, count, arena);
        for (size_t v = 0; v < count; v++) {
            for (size_t i = 0; i < OUTPUTS; i++)
                results[i] = (int64_t)output[OUTPUTS * v + i];
            if (fwrite(results, sizeof results, 1, to) != 1)
                return 5;
#ifdef NOTE
            if (fwrite(noted[v], sizeof noted[v], 1, to) != 1)
                return 5;
#endif
        }
        free(input);
        free(output);
        free(arena);
        left -= count;
        call++;
    }
    return fclose(to) ? 6 : 0;
}
