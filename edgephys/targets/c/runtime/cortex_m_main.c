/* Run a generated model over the vectors of a file, and measure its stack and its instructions.
 *
 * "x" holds the number of vectors (int64) and their integers (int64 each); "y" gets the outputs (int64 each) and
 * one struct Trailer. MODEL_HEADER, MODEL_RUN, MODEL_INPUT_T, MODEL_OUTPUT_T and MODEL_ARENA_BYTES name the model;
 * INPUTS, OUTPUTS and ARENA_BYTES are what the caller believes of it.
 */
#include "semihosting.h"
#include MODEL_HEADER

_Static_assert(MODEL_INPUTS == INPUTS, "input size of header and manifest differ");
_Static_assert(MODEL_OUTPUTS == OUTPUTS, "output size of header and manifest differ");
_Static_assert(MODEL_ARENA_BYTES == ARENA_BYTES, "arena bytes of header and manifest differ");

enum { GUARD = 64, PATTERN = 0xA5, FLAW = 65, NO_FILE = 66, TRAILER = 0x45444745 };

struct Trailer {
    uint32_t magic, vectors, checksum, stack_bytes, most_ticks, least_ticks, idle_ticks, buffer_bytes;
};

static struct {
    uint64_t aligned[0];
    uint8_t before[GUARD];
    uint8_t bytes[(ARENA_BYTES + 7) / 8 * 8];
    uint8_t after[GUARD];
} arena;

static struct {
    uint64_t aligned[0];
    MODEL_OUTPUT_T values[OUTPUTS];
    uint8_t after[GUARD];
} output;

static MODEL_INPUT_T input[INPUTS];
extern uint32_t stack_bottom[];
static uint32_t checksum = 0xFFFFFFFF, deepest, most, least = 0xFFFFFFFF, idle;

/* Timer 0 of the board counts 25 MHz down, of the virtual time in which qemu executes one instruction a step. */
#define TIMER ((volatile uint32_t *)0x40000000)
enum { CONTROL, VALUE, RELOAD, INTERRUPT };
enum { RUN = 1, NOTE_ZERO = 8 };

static void fail(const char *why) {
    host_say(why);
    host_say("\n");
    host_exit(FLAW);
}

static void idle_run(const MODEL_INPUT_T *x, MODEL_OUTPUT_T *y, void *space) {
    (void)x, (void)y, (void)space;
    __asm volatile("");
}

/* Call the model on a painted stack; keep how deep it reached and how long it took. */
__attribute__((noipa)) static uint32_t measured(void (*run)(const MODEL_INPUT_T *, MODEL_OUTPUT_T *, void *)) {
    uint32_t *top;
    __asm volatile("mov %0, sp" : "=r"(top));
    for (volatile uint32_t *word = stack_bottom; word < top; word++)
        *word = 0xA5A5A5A5;
    TIMER[CONTROL] = 0;
    TIMER[INTERRUPT] = 1;
    TIMER[RELOAD] = 0xFFFFFFFF;
    TIMER[VALUE] = 0xFFFFFFFF;
    TIMER[CONTROL] = RUN | NOTE_ZERO;
    const uint32_t start = TIMER[VALUE];
    run(input, output.values, arena.bytes);
    const uint32_t ticks = start - TIMER[VALUE];
    const volatile uint32_t *word = stack_bottom;
    while (word < top && *word == 0xA5A5A5A5)
        word++;
    const uint32_t depth = (uint32_t)((uintptr_t)top - (uintptr_t)word);
    deepest = depth > deepest ? depth : deepest;
    return TIMER[INTERRUPT] ? 0xFFFFFFFF : ticks;
}

static void fill(void *from, uint32_t bytes) {
    for (volatile uint8_t *byte = from; bytes--; byte++)
        *byte = PATTERN;
}

static void guard(const uint8_t *bytes, const char *why) {
    for (int i = 0; i < GUARD; i++)
        if (bytes[i] != PATTERN)
            fail(why);
}

static int64_t next(int32_t file) {
    int64_t value = 0;
    if (host_read(file, &value, sizeof value))
        fail("fewer inputs came than were announced");
    return value;
}

static void take(int32_t file) {
    for (uint32_t i = 0; i < INPUTS; i++) {
        const int64_t value = next(file);
        input[i] = (MODEL_INPUT_T)value;
        if ((int64_t)input[i] != value)
            fail("an input is outside of the model's input type");
    }
}

/* CRC-32 as in IEEE 802.3, a byte at a time. */
static void check(const void *from, uint32_t bytes) {
    for (const uint8_t *byte = from; bytes--; byte++) {
        checksum ^= *byte;
        for (int bit = 0; bit < 8; bit++)
            checksum = checksum >> 1 ^ (checksum & 1 ? 0xEDB88320 : 0);
    }
}

static void give(int32_t file) {
    for (uint32_t i = 0; i < OUTPUTS; i++) {
        const int64_t value = (int64_t)output.values[i];
        check(&value, sizeof value);
        if (host_write(file, &value, sizeof value))
            fail("an output could not be written");
    }
}

int main(void) {
    const int32_t x = host_open("x", 1, HOST_FOR_READING), y = host_open("y", 1, HOST_FOR_WRITING);
    if (x < 0 || y < 0) {
        host_say("the file of inputs or outputs cannot be opened\n");
        return NO_FILE;
    }
    idle = measured(idle_run);
    deepest = 0;
    const uint32_t vectors = (uint32_t)next(x);
    for (uint32_t v = 0; v < vectors; v++) {
        take(x);
        fill(&arena, sizeof arena); /* what an inference finds there, it may not use */
        fill(&output, sizeof output);
        const uint32_t ticks = measured(MODEL_RUN);
        guard(arena.before, "the model wrote below its arena");
        guard(arena.after, "the model wrote above its arena");
        guard(output.after, "the model wrote above its output");
        most = ticks > most ? ticks : most;
        least = ticks < least ? ticks : least;
        give(y);
    }
    const struct Trailer trailer = {TRAILER, vectors, ~checksum, deepest, most, least, idle,
                                    sizeof input + sizeof output.values};
    return host_write(y, &trailer, sizeof trailer) || host_close(y) ? NO_FILE : 0;
}
