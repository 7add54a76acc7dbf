// Main program of edgephys' C simulation: csim X Y COUNT THREADS (outputs|probes)
//
// X holds COUNT vectors of INPUTS int64, Y gets COUNT vectors of OUTPUTS (or RESULTS, every layer's) int64,
// all in steps of their formats. TOP is the emitted top function, in TOP_SOURCE; TYPES reads and sets
// its numbers, STORAGE defines the constants that the sources only declare. STREAMED says that it takes and gives
// streams, a pixel a beat, in raster order; ROLLOUT runs RUNS steps on an array of pixels, and Y gets the READINGS states
// after each of them: a run of no steps stands before the first one. Inputs and outputs lie on the heap, each in a block of exactly its size, so
// that a sanitiser sees every access outside of them; the functions that allocate them name them in its report.

#include TYPES
#include TOP_SOURCE
#ifdef ROLLOUT
#include ROLLOUT_SOURCE
#endif
#include STORAGE
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <pthread.h>
#include <vector>

namespace nnet {
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = NULL;
size_t trace_type_size = sizeof(double);
thread_local long long *edge_probe_sink = NULL;
} // namespace nnet

struct Share {
    const long long *x;
    long long *y;
    size_t count;
    bool probing;
};

#ifdef ROLLOUT
static const size_t WIDTH = INPUTS * READINGS;

__attribute__((noinline)) static input_t *input_buffer() { return new input_t[INPUTS / input_t::size]; }

static void call(const long long *from, long long *to, bool) {
    static const size_t runs[] = {0, RUNS};
    static thread_local const std::unique_ptr<input_t[]> frames(input_buffer());
    nnet::edge_probe_sink = NULL;
    for (size_t i = 0; i < INPUTS; i++)
        edge_set(frames[i / input_t::size][i % input_t::size], from[i]);
    for (size_t run = 0; run <= READINGS; run++) {
        ROLLOUT(frames.get(), runs[run]);
        for (size_t i = 0; i < INPUTS && run; i++)
            *to++ = edge_integer(frames[i / input_t::size][i % input_t::size]);
    }
}
#elif defined(STREAMED)
static const size_t WIDTH = OUTPUTS;

static void call(const long long *from, long long *to, bool probing) {
    hls::stream<input_t> x("x");
    hls::stream<result_t> y("y");
    for (size_t beat = 0; beat < INPUTS / input_t::size; beat++) {
        input_t pixel;
        for (size_t i = 0; i < input_t::size; i++)
            edge_set(pixel[i], *from++);
        x.write(pixel);
    }
    nnet::edge_probe_sink = probing ? to : NULL;
    TOP(x, y);
    for (size_t beat = 0; beat < OUTPUTS / result_t::size; beat++) {
        const result_t pixel = y.read();
        for (size_t i = 0; i < result_t::size && !probing; i++)
            *to++ = edge_integer(pixel[i]);
    }
}
#else
static const size_t WIDTH = OUTPUTS;

__attribute__((noinline)) static input_t *input_buffer() { return new input_t[INPUTS]; }
__attribute__((noinline)) static result_t *output_buffer() { return new result_t[OUTPUTS]; }

static void call(const long long *from, long long *to, bool probing) {
    static thread_local const std::unique_ptr<input_t[]> x(input_buffer());
    static thread_local const std::unique_ptr<result_t[]> y(output_buffer());
    for (size_t i = 0; i < INPUTS; i++)
        edge_set(x[i], from[i]);
    nnet::edge_probe_sink = probing ? to : NULL;
    TOP(x.get(), y.get());
    if (!probing)
        for (size_t i = 0; i < OUTPUTS; i++)
            to[i] = edge_integer(y[i]);
}
#endif

static void *work(void *given) {
    const Share share = *static_cast<Share *>(given);
    const size_t width = share.probing ? RESULTS : WIDTH;
    for (size_t v = 0; v < share.count; v++)
        call(share.x + v * INPUTS, share.y + v * width, share.probing);
    return NULL;
}

static bool run(std::vector<Share> &shares) {
    std::vector<pthread_t> pool(shares.size());
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, size_t(1) << 30); // untouched pages cost nothing
    for (size_t t = 0; t < shares.size(); t++)
        if (pthread_create(&pool[t], &attributes, work, &shares[t]))
            return false;
    for (size_t t = 0; t < shares.size(); t++)
        pthread_join(pool[t], NULL);
    return true;
}

int main(int argc, char **argv) {
    if (argc != 6)
        return 2;
    const size_t count = strtoull(argv[3], NULL, 10), threads = strtoull(argv[4], NULL, 10);
    const bool probing = !strcmp(argv[5], "probes");
    const size_t width = probing ? RESULTS : WIDTH;
    std::vector<long long> x(count * INPUTS), y(count * width);
    FILE *in = fopen(argv[1], "rb");
    if (!in || fread(x.data(), 8 * INPUTS, count, in) != count)
        return 3;
    fclose(in);
    std::vector<Share> first(1, Share{x.data(), y.data(), count ? 1u : 0u, probing}), shares;
    for (size_t t = 0; t < threads; t++) {
        const size_t from = count * t / threads, to = count * (t + 1) / threads;
        shares.push_back(Share{x.data() + from * INPUTS, y.data() + from * width, to - from, probing});
    }
    if (!run(first) || !run(shares)) // the first call alone reads the weights
        return 4;
    FILE *out = fopen(argv[2], "wb");
    if (!out || fwrite(y.data(), 8 * width, count, out) != count || fclose(out))
        return 5;
    return 0;
}
