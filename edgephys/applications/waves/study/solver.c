/* The wave equation on a square mesh, stepped explicitly in float32: the scheme of data/equation.py.
 *
 * With v = u - u_before a step is u += v, then v = back v - gain K u + force: the same numbers as 2 u - u_before would
 * give, but each rounding shifts u by its last digit alone. K u is a sum of flows along the links of a node to its four
 * neighbours, which hold the stiffness times the gain.
 *
 * Arrays are side + 2 rows of `width` numbers: nodes within a ring in which u is 0 for ever. across[i] links node i with
 * i + 1, down[i] with i + width.
 */

#include <math.h>
#include <stddef.h>

/* The signal of a Ricker wavelet. */
static double ricker(double frequency, double delay, double time) {
    const double turns = 3.14159265358979323846 * frequency * (time - delay), a = turns * turns;
    return (1.0 - 2.0 * a) * exp(-a);
}

/* Change v of a row of nodes where nothing is damped. */
static void row(size_t side, size_t width, const float *restrict u, const float *restrict across,
                const float *restrict down, float *restrict v) {
    const float *const above = u - width, *const below = u + width, *const up = down - width;
    for (size_t i = 1; i <= side; i++)
        v[i] -= (across[i] * (u[i] - u[i + 1]) + across[i - 1] * (u[i] - u[i - 1])) +
                (down[i] * (u[i] - below[i]) + up[i] * (u[i] - above[i]));
}

/* The same where edges absorb: a share of v stays, and the gain of a node on the edge is another. */
static void damped_row(size_t side, size_t width, const float *restrict u, const float *restrict across,
                       const float *restrict down, const float *restrict back, const float *restrict gain,
                       float *restrict v) {
    const float *const above = u - width, *const below = u + width, *const up = down - width;
    for (size_t i = 1; i <= side; i++)
        v[i] = back[i] * v[i] -
               gain[i] * ((across[i] * (u[i] - u[i + 1]) + across[i - 1] * (u[i] - u[i - 1])) +
                          (down[i] * (u[i] - below[i]) + up[i] * (u[i] - above[i])));
}

static void add(size_t side, float by, const float *restrict of, float *restrict to) {
    for (size_t i = 1; i <= side; i++)
        to[i] += by * of[i];
}

/* Advance u and v by `frames` frames of `steps` steps and write each frame: every `refinement`-th node from `first` on,
 * `grid` a side. back and gain are null where nothing is damped. There are `sources` forces, each an array of a node's
 * force with its frequency and delay. */
void edgephys_wave(size_t side, size_t width, const float *across, const float *down, const float *back,
                   const float *gain, size_t sources, const float *forces, const double *frequencies,
                   const double *delays, double dt, size_t steps, size_t frames, size_t grid, size_t first,
                   size_t refinement, float *u, float *v, float *out) {
    const size_t nodes = (side + 2) * width;
    for (size_t frame = 0; frame < frames; frame++) {
        for (size_t step = 1; step <= steps; step++) {
            add(side, 1.0f, v + width, u + width);
            for (size_t r = 1; r <= side; r++) {
                const size_t at = r * width;
                if (r < side)
                    add(side, 1.0f, v + at + width, u + at + width);
                if (back)
                    damped_row(side, width, u + at, across + at, down + at, back + at, gain + at, v + at);
                else
                    row(side, width, u + at, across + at, down + at, v + at);
            }
            for (size_t source = 0; source < sources; source++) {
                const double time = (double)(frame * steps + step) * dt;
                const float signal = (float)ricker(frequencies[source], delays[source], time);
                for (size_t r = 1; r <= side; r++)
                    add(side, signal, forces + source * nodes + r * width, v + r * width);
            }
        }
        for (size_t i = 0; i < grid; i++)
            for (size_t j = 0; j < grid; j++)
                *out++ = u[(first + i * refinement) * width + first + j * refinement];
    }
}
