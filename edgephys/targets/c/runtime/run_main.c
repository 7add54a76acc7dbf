/* Main program of edgephys' C targets: MAIN X Y COUNT
 *
 * X holds COUNT vectors of INPUTS int64, Y gets COUNT vectors of RESULTS int64: the outputs or, of a source compiled to
 * be looked at, every layer's integers. HEADER declares RUN, INPUT_T, OUTPUT_T; NOTE is what a layer is noted with.
 */

#include HEADER

#include <stdio.h>
#include <stdlib.h>

static int64_t *noted;

#ifdef NOTE
void NOTE(size_t at, int64_t value);
void NOTE(size_t at, int64_t value)
{
    noted[at] = value;
}
#endif

int main(int argc, char **argv)
{
    static INPUT_T input[INPUTS];
    static OUTPUT_T output[OUTPUTS];
    static int64_t read[INPUTS], made[RESULTS], arena[ARENA_BYTES / 8 + 1];
    FILE *from, *to;
    long count;
    if (argc != 4)
        return 2;
    count = strtol(argv[3], NULL, 10);
    from = fopen(argv[1], "rb");
    to = fopen(argv[2], "wb");
    if (!from || !to)
        return 3;
    noted = made;
    for (long v = 0; v < count; v++) {
        if (fread(read, sizeof read, 1, from) != 1)
            return 4;
        for (size_t i = 0; i < INPUTS; i++)
            input[i] = (INPUT_T)read[i];
        RUN(input, output, arena);
#ifndef NOTE
        for (size_t i = 0; i < OUTPUTS; i++)
            made[i] = (int64_t)output[i];
#endif
        if (fwrite(made, sizeof made, 1, to) != 1)
            return 5;
    }
    return fclose(to) ? 6 : 0;
}
