// The loop that times a C simulation, called by edgephys' bench through a shared library.
//
// The same emitted top function, numbers and access as in csim_main.cpp, which this includes; WEIGHTS_DIR is defined
// as edgephys_weights, so that a library finds its weights wherever they are.

extern const char *edgephys_weights;
#define main edgephys_csim_main
#include "csim_main.cpp"
#undef main
#include <time.h>

const char *edgephys_weights = "weights";

struct Timed {
    const long long *x;
    size_t count;
    long long *y;
    size_t batch, calls;
    long long *ns;
};

static long long now_ns() {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void *slice(void *given) {
    const Timed timed = *static_cast<Timed *>(given);
    std::vector<input_t> x(timed.count * INPUTS);
    std::vector<result_t> y(timed.batch * OUTPUTS);
    for (size_t i = 0; i < x.size(); i++)
        edge_set(x[i], timed.x[i]);
    size_t at = 0;
    for (size_t call = 0; call < timed.calls; call++) {
        const long long began = now_ns();
        for (size_t v = 0; v < timed.batch; v++) {
            TOP(&x[at * INPUTS], &y[v * OUTPUTS]);
            if (++at == timed.count)
                at = 0;
        }
        timed.ns[call] = now_ns() - began;
    }
    for (size_t i = 0; i < y.size(); i++)
        timed.y[i] = edge_integer(y[i]);
    return NULL;
}

extern "C" void edgephys_open(const char *weights) { edgephys_weights = strdup(weights); }

extern "C" void edgephys_slice(const long long *x, size_t count, long long *y, size_t batch, size_t calls,
                               long long *ns) {
    Timed timed = {x, count, y, batch, calls, ns};
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, size_t(1) << 30); // untouched pages cost nothing
    if (pthread_create(&thread, &attributes, slice, &timed))
        abort();
    pthread_join(thread, NULL);
}

extern "C" void edgephys_empty(size_t calls, long long *ns) {
    for (size_t call = 0; call < calls; call++) {
        const long long began = now_ns();
        ns[call] = now_ns() - began;
    }
}
