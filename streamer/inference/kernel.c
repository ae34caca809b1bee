/* An LSTM network on small blocks of rows: feature rows and states in, scores and states out.
 *
 * A live stream wakes for 30 rows of the network a second, and finds its caches cold. What such a call costs is
 * reading the weights once, from wherever they are; this code is small enough to add little to that. Weights
 * lie in tiles of TILE columns, in the order in which they are read. Sums go over inputs in one order whatever
 * the other rows and streams of a call.
 */
#include "../kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TILE 64
#define HALF_TILE 32
#define ROWS_AT_ONCE 4

#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
/* Fused multiply and add, where there is one: scores need not be the same bits on all machines. */
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "arch=haswell", "default"), optimize("fp-contract=fast")))
#else
#define FOR_EACH_PROCESSOR
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float vector __attribute__((vector_size(64), aligned(4), may_alias));

typedef struct {
    const float *weights; /* [columns / TILE][inputs][TILE] */
    const float *bias;    /* [columns] */
    int32_t inputs;
    int32_t columns;      /* a multiple of TILE: what is beyond the layer's own is nought */
} streamer_dense;

struct streamer_lstm_network {
    const streamer_dense *front; /* or NULL */
    const streamer_dense *below; /* [layers]: what comes from the layer below, */
    const streamer_dense *past;  /* [layers]: and from the row before; no bias */
    const streamer_dense *head;
    const float *mean;           /* [gathered] */
    const float *scale;          /* [gathered] */
    int32_t gathered;            /* feature rows side by side that make one row */
    int32_t layers;
    int32_t hidden;
    int32_t labels;
};

#define at(place) (*(const vector *)(place))

/* Four rows share each weight that is read. */
INLINE void four_rows(const streamer_dense *d, const float *w, const float *in, int64_t in_step, float *out,
                      int64_t out_step) {
    for (int half = 0; half < TILE; half += HALF_TILE) {
        vector sum[ROWS_AT_ONCE][2];
        for (int r = 0; r < ROWS_AT_ONCE; r++)
            for (int v = 0; v < 2; v++) sum[r][v] = at(out + r * out_step + half + 16 * v);
        for (int k = 0; k < d->inputs; k++) {
            vector low = at(w + (int64_t)k * TILE + half), high = at(w + (int64_t)k * TILE + half + 16);
            for (int r = 0; r < ROWS_AT_ONCE; r++) {
                sum[r][0] += in[r * in_step + k] * low;
                sum[r][1] += in[r * in_step + k] * high;
            }
        }
        for (int r = 0; r < ROWS_AT_ONCE; r++)
            for (int v = 0; v < 2; v++) *(vector *)(out + r * out_step + half + 16 * v) = sum[r][v];
    }
}

INLINE void one_row(const streamer_dense *d, const float *w, const float *in, float *out) {
    vector a = at(out), b = at(out + 16), c = at(out + 32), e = at(out + 48);
    for (int k = 0; k < d->inputs; k++, w += TILE) {
        a += in[k] * at(w);
        b += in[k] * at(w + 16);
        c += in[k] * at(w + 32);
        e += in[k] * at(w + 48);
    }
    *(vector *)out = a;
    *(vector *)(out + 16) = b;
    *(vector *)(out + 32) = c;
    *(vector *)(out + 48) = e;
}

/* out += in x weights, for rows that lie `in_step` and `out_step` apart. */
FOR_EACH_PROCESSOR
static void add_product(const streamer_dense *d, const float *in, int64_t in_step, int64_t rows, float *out,
                        int64_t out_step) {
    const float *w = d->weights;
    for (int column = 0; column < d->columns; column += TILE, w += (int64_t)d->inputs * TILE) {
        int64_t r = 0;
        for (; r + ROWS_AT_ONCE <= rows; r += ROWS_AT_ONCE)
            four_rows(d, w, in + r * in_step, in_step, out + r * out_step + column, out_step);
        for (; r < rows; r++) one_row(d, w, in + r * in_step, out + r * out_step + column);
    }
}

static void product(const streamer_dense *d, const float *in, int64_t in_step, int64_t rows, float *out) {
    for (int64_t r = 0; r < rows; r++) memcpy(out + r * d->columns, d->bias, sizeof(float) * (size_t)d->columns);
    add_product(d, in, in_step, rows, out, d->columns);
}

/* e^x to the last bits of a float, without a branch, so that loops over it become vector code. */
INLINE float exponential(float x) {
    x = x > 87.0f ? 87.0f : x;
    x = x < -87.0f ? -87.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: what is left of the sum is the nearest integer */
    int32_t exponent;
    memcpy(&exponent, &shifted, sizeof exponent);
    float whole = shifted - 12582912.0f;
    float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f; /* ln 2 in two parts */
    float sum = 1.0f / 5040;
    sum = sum * rest + 1.0f / 720;
    sum = sum * rest + 1.0f / 120;
    sum = sum * rest + 1.0f / 24;
    sum = sum * rest + 1.0f / 6;
    sum = sum * rest + 0.5f;
    sum = sum * rest + 1.0f;
    sum = sum * rest + 1.0f;
    int32_t bits = (exponent - 0x4B400000 + 127) * (1 << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

INLINE float logistic(float x) { return 1.0f / (1.0f + exponential(-x)); }
INLINE float hyperbolic(float x) { return 2.0f / (1.0f + exponential(-2.0f * x)) - 1.0f; }

/* One row of one stream: the gates i, f, g, o side by side; cells and what the layer says are replaced. */
FOR_EACH_PROCESSOR
static void breathe(const float *restrict gates, int hidden, float *restrict cells, float *restrict said) {
    for (int j = 0; j < hidden; j++) {
        float in = logistic(gates[j]), forget = logistic(gates[hidden + j]);
        float fresh = hyperbolic(gates[2 * hidden + j]), out = logistic(gates[3 * hidden + j]);
        cells[j] = forget * cells[j] + in * fresh;
        said[j] = out * hyperbolic(cells[j]);
    }
}

FOR_EACH_PROCESSOR
static void normalise(const streamer_lstm_network *n, const float *features, int64_t rows, float *out) {
    for (int64_t r = 0; r < rows; r++)
        for (int i = 0; i < n->gathered; i++)
            out[r * n->gathered + i] = (features[r * n->gathered + i] - n->mean[i]) * n->scale[i];
}

FOR_EACH_PROCESSOR
static void rectify(float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) values[i] = values[i] > 0.0f ? values[i] : 0.0f;
}

FOR_EACH_PROCESSOR
static void squash(const float *logits, int labels, float *scores) {
    for (int i = 0; i < labels; i++) scores[i] = logistic(logits[i]);
}

/* `rows` rows of each of `streams` streams; `h` and `c` are [streams][layers][hidden] and become those after.
 * Returns 0, or -1 where there is no memory. */
int streamer_lstm(const streamer_lstm_network *n, const float *features, int64_t streams, int64_t rows, float *h,
                  float *c, float *scores) {
    int64_t all = streams * rows, hidden = n->hidden, state = (int64_t)n->layers * hidden;
    int64_t widest = n->gathered > hidden ? n->gathered : hidden;
    int64_t front = n->front ? n->front->columns : 0, gates = n->below[0].columns;
    if (front > widest) widest = front;
    if (n->head->columns > gates) gates = n->head->columns;
    float *memory = malloc(sizeof(float) * (size_t)(all * (2 * widest + gates) + 1));
    if (!memory) return -1;
    float *in = memory, *other = in + all * widest, *wide = other + all * widest;
    int64_t in_step = n->gathered;
    normalise(n, features, all, in);
    if (n->front) {
        product(n->front, in, in_step, all, other);
        rectify(other, all * front);
        float *swap = in;
        in = other, other = swap, in_step = front;
    }
    for (int layer = 0; layer < n->layers; layer++) {
        const streamer_dense *below = n->below + layer, *past = n->past + layer;
        product(below, in, in_step, all, wide);
        for (int64_t row = 0; row < rows; row++) {
            int64_t step = rows * below->columns;
            add_product(past, h + layer * hidden, state, streams, wide + row * below->columns, step);
            for (int64_t s = 0; s < streams; s++) {
                float *said = h + s * state + layer * hidden;
                breathe(wide + s * step + row * below->columns, n->hidden, c + s * state + layer * hidden, said);
                memcpy(other + (s * rows + row) * hidden, said, sizeof(float) * (size_t)hidden);
            }
        }
        float *swap = in;
        in = other, other = swap, in_step = hidden;
    }
    product(n->head, in, in_step, all, wide);
    for (int64_t r = 0; r < all; r++) squash(wide + r * n->head->columns, n->labels, scores + r * n->labels);
    free(memory);
    return 0;
}
