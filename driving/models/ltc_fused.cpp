// The liquid time-constant cell over whole sequences, forward and backward: see ltc_fused.py for the derivation.
//
// Plain C interface, no headers but the standard library's, so that any g++ or clang++ builds it in one or two
// seconds. W samples (64 bytes) are worked on side by side, one a lane: no synapse mixes lanes, so samples never mix,
// nothing is gathered, and the order of every sum over synapses is the wiring's.
// Vector extensions (vector_size) become what the processor has. No -ffast-math: NaN stays NaN.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

template <class T> struct Simd;
template <> struct Simd<float> {
    typedef float V __attribute__((vector_size(64)));
    typedef int32_t I __attribute__((vector_size(64)));
    static constexpr int mantissa = 23, bias = 127, terms = 7;
    static constexpr float magic = 12582912.0f, limit = 87.0f;  // 1.5 * 2^23; e^87 is finite
    static constexpr float ln2_high = 0.693145751953125f, ln2_low = 1.428606820309417e-06f;
};
template <> struct Simd<double> {
    typedef double V __attribute__((vector_size(64)));
    typedef int64_t I __attribute__((vector_size(64)));
    static constexpr int mantissa = 52, bias = 1023, terms = 13;
    static constexpr double magic = 6755399441055744.0, limit = 708.0;  // 1.5 * 2^52
    static constexpr double ln2_high = 0.693147180369123816490, ln2_low = 1.90821492927058770002e-10;
};

// 1 / (1 + e^-z), with e^x = 2^n e^r, |r| <= ln 2 / 2, and Taylor's series for e^r (error below half a unit).
template <class T> inline typename Simd<T>::V sigmoid(typename Simd<T>::V z) {
    using S = Simd<T>;
    using V = typename S::V;
    using I = typename S::I;
    const V zero = {}, low = zero - S::limit, high = zero + S::limit;
    V x = -z;
    x = x < low ? low : x;  // a NaN compares false and stays
    x = x > high ? high : x;
    const V shifted = x * T(1.4426950408889634) + S::magic;  // the low bits now hold n
    const V n = shifted - S::magic;
    const V r = (x - n * S::ln2_high) - n * S::ln2_low;
    V e = zero + T(1);
    for (int i = S::terms; i > 0; --i) e = e * r * T(1.0 / i) + T(1);
    const I power = ((I)shifted + S::bias) << S::mantissa;
    return T(1) / (T(1) + e * (V)power);
}

template <class T> T softplus(T x) { return x > T(20) ? x : std::log1p(std::exp(x)); }
template <class T> T softplus_slope(T x) { return x > T(20) ? T(1) : T(1) / (T(1) + std::exp(-x)); }

struct Sizes {
    int64_t batch, time, inputs, neurons, sensory, synapses, motors, substeps;
};

// Synapses of one kind and their parameters.
template <class T> struct Synapses {
    using V = typename Simd<T>::V;
    const int32_t *source, *target;
    int64_t n;
    const T *w_raw, *sigma, *mu, *e_rev;
    std::vector<T> w, we;
    std::vector<V> d_sigma, d_drive, d_we, d_w;  // sums for the gradient, one a lane

    Synapses(const int32_t *table, int64_t n_, const T *w_raw_, const T *sigma_, const T *mu_, const T *e_rev_)
        : source(table), target(table + n_), n(n_), w_raw(w_raw_), sigma(sigma_), mu(mu_), e_rev(e_rev_), w(n_),
          we(n_) {
        for (int64_t i = 0; i < n; ++i) {
            w[i] = softplus(w_raw[i]);
            we[i] = w[i] * e_rev[i];
        }
    }
    // numerator += sum w s E, denominator += sum w s; the activations s are kept where `kept` is given.
    void add(const V *from, V *numerator, V *denominator, V *kept) const {
        for (int64_t i = 0; i < n; ++i) {
            const V s = sigmoid<T>(sigma[i] * (from[source[i]] - mu[i]));
            numerator[target[i]] += we[i] * s;
            denominator[target[i]] += w[i] * s;
            if (kept) kept[i] = s;
        }
    }
    void begin_gradient() {
        for (auto *sums : {&d_sigma, &d_drive, &d_we, &d_w}) sums->assign(n, V{});
    }
    // Back through `add`: g_num and g_den are the gradients of its sums; g_from gets the sources' gradient added.
    void add_gradient(const V *from, const V *kept, const V *g_num, const V *g_den, V *g_from) {
        for (int64_t i = 0; i < n; ++i) {
            const V s = kept[i], num = g_num[target[i]], den = g_den[target[i]];
            const V drive = (we[i] * num + w[i] * den) * s * (T(1) - s);
            d_sigma[i] += drive * (from[source[i]] - mu[i]);
            d_drive[i] += drive;
            d_we[i] += num * s;
            d_w[i] += den * s;
            g_from[source[i]] += sigma[i] * drive;
        }
    }
    static double total(const V &lanes) {
        double sum = 0;
        for (size_t i = 0; i < sizeof(V) / sizeof(T); ++i) sum += lanes[i];
        return sum;
    }
    void end_gradient(T *g_w_raw, T *g_sigma, T *g_mu, T *g_e_rev) const {
        for (int64_t i = 0; i < n; ++i) {
            const double we_sum = total(d_we[i]);
            g_w_raw[i] = T((we_sum * e_rev[i] + total(d_w[i])) * softplus_slope(w_raw[i]));
            g_sigma[i] = T(total(d_sigma[i]));
            g_mu[i] = T(-sigma[i] * total(d_drive[i]));
            g_e_rev[i] = T(we_sum * w[i]);
        }
    }
};

// Where each parameter begins in the flat vector, in the order of PARAMETERS in ltc_fused.py.
struct Places {
    int64_t w_raw, c_m_raw, g_raw, sigma, mu, e_rev, v_leak, input_weight, input_bias, readout_weight, readout_bias;
    explicit Places(const Sizes &z) {
        const int64_t n = z.sensory + z.synapses;
        w_raw = 0, c_m_raw = n, g_raw = c_m_raw + z.neurons, sigma = g_raw + z.neurons, mu = sigma + n, e_rev = mu + n;
        v_leak = e_rev + n, input_weight = v_leak + z.neurons, input_bias = input_weight + z.inputs;
        readout_weight = input_bias + z.inputs, readout_bias = readout_weight + z.motors;
    }
};

template <class T> struct Cell {
    using V = typename Simd<T>::V;
    static constexpr int64_t W = sizeof(V) / sizeof(T);
    const Sizes z;
    const Places at;
    Synapses<T> sensory, recurrent;
    const int32_t *motor;
    const T *c_m_raw, *g_raw, *v_leak, *input_weight, *input_bias, *readout_weight, *readout_bias;
    std::vector<T> c_m, g;
    std::vector<V> raw, x, c, numerator, denominator, sum;  // raw features, mapped ones; sums that a frame holds

    Cell(const Sizes &sizes, const int32_t *table, const T *flat)
        : z(sizes), at(sizes),
          sensory(table, z.sensory, flat + at.w_raw, flat + at.sigma, flat + at.mu, flat + at.e_rev),
          recurrent(table + 2 * z.sensory, z.synapses, flat + at.w_raw + z.sensory, flat + at.sigma + z.sensory,
                    flat + at.mu + z.sensory, flat + at.e_rev + z.sensory),
          motor(table + 2 * (z.sensory + z.synapses)), c_m_raw(flat + at.c_m_raw), g_raw(flat + at.g_raw),
          v_leak(flat + at.v_leak), input_weight(flat + at.input_weight), input_bias(flat + at.input_bias),
          readout_weight(flat + at.readout_weight), readout_bias(flat + at.readout_bias), c_m(z.neurons),
          g(z.neurons), raw(z.inputs), x(z.inputs), c(z.neurons), numerator(z.neurons), denominator(z.neurons),
          sum(z.neurons) {
        for (int64_t k = 0; k < z.neurons; ++k) {
            c_m[k] = softplus(c_m_raw[k]);
            g[k] = softplus(g_raw[k]);
        }
    }
    // Lanes from and to rows of samples; `stride` lies between two samples, `n` values of each are taken.
    void load(const T *rows, int64_t first, int64_t stride, int64_t n, V *lanes, T unused = T(0)) const {
        for (int64_t l = 0; l < W; ++l)
            for (int64_t i = 0; i < n; ++i)
                lanes[i][l] = first + l < z.batch ? rows[(first + l) * stride + i] : unused;
    }
    void store(const V *lanes, int64_t first, int64_t stride, int64_t n, T *rows) const {
        for (int64_t l = 0; l < W && first + l < z.batch; ++l)
            for (int64_t i = 0; i < n; ++i) rows[(first + l) * stride + i] = lanes[i][l];
    }
    // All that is held during frame t: c, and numerator and denominator without the recurrent synapses.
    V hold(const T *features, const T *dt_s, int64_t first, int64_t t, V *kept) {
        load(features + t * z.inputs, first, z.time * z.inputs, z.inputs, raw.data());
        V dt;
        load(dt_s + t, first, z.time, 1, &dt, T(1));
        for (int64_t i = 0; i < z.inputs; ++i) x[i] = raw[i] * input_weight[i] + input_bias[i];
        for (int64_t k = 0; k < z.neurons; ++k) {
            c[k] = c_m[k] * T(z.substeps) / dt;
            numerator[k] = V{} + g[k] * v_leak[k];
            denominator[k] = c[k] + (g[k] + T(1e-8));  // EPS of ltc.py
        }
        sensory.add(x.data(), numerator.data(), denominator.data(), kept);
        return dt;
    }
    // One sub-step of state v into `next`; `whole` becomes its whole denominator.
    void substep(const V *v, V *next, V *whole, V *kept) {
        std::memcpy(sum.data(), numerator.data(), sizeof(V) * z.neurons);
        std::memcpy(whole, denominator.data(), sizeof(V) * z.neurons);
        recurrent.add(v, sum.data(), whole, kept);
        for (int64_t k = 0; k < z.neurons; ++k) next[k] = (sum[k] + c[k] * v[k]) / whole[k];
    }
    void forward(const T *features, const T *state, const T *dt_s, T *outputs, T *last, T *starts) {
        const size_t bytes = sizeof(V) * z.neurons;
        std::vector<V> v(z.neurons), whole(z.neurons), y(z.motors);
        for (int64_t first = 0; first < z.batch; first += W) {
            load(state, first, z.neurons, z.neurons, v.data());
            for (int64_t t = 0; t < z.time; ++t) {
                if (starts) {
                    std::memcpy(starts, v.data(), bytes);
                    starts += z.neurons * W;
                }
                hold(features, dt_s, first, t, nullptr);
                for (int64_t i = 0; i < z.substeps; ++i) substep(v.data(), v.data(), whole.data(), nullptr);
                for (int64_t o = 0; o < z.motors; ++o) y[o] = v[motor[o]] * readout_weight[o] + readout_bias[o];
                store(y.data(), first, z.time * z.motors, z.motors, outputs + t * z.motors);
            }
            store(v.data(), first, z.neurons, z.neurons, last);
        }
    }
    void backward(const T *features, const T *dt_s, const T *starts, const T *g_outputs, const T *g_last,
                  T *g_features, T *g_state, T *g_dt_s, T *g_flat) {
        const int64_t K = z.neurons, n_sub = z.substeps;
        const size_t bytes = sizeof(V) * K;
        std::vector<V> kept_in(z.sensory), kept(z.synapses * n_sub), v((n_sub + 1) * K), whole(n_sub * K);
        std::vector<V> g_v(K), g_before(K), q(K), q_den(K), g_num(K), g_den(K), g_c(K), g_x(z.inputs), y(z.motors);
        std::vector<V> sum_c(K), sum_num(K), sum_den(K), sum_w(z.inputs), sum_b(z.inputs), sum_r(z.motors),
            sum_o(z.motors);
        sensory.begin_gradient();
        recurrent.begin_gradient();
        for (int64_t first = 0; first < z.batch; first += W, starts += z.time * K * W) {
            load(g_last, first, K, K, g_v.data());
            for (int64_t t = z.time - 1; t >= 0; --t) {
                // The frame once more, everything kept: cheaper than to store it for all frames.
                std::memcpy(v.data(), starts + t * K * W, bytes);
                const V dt = hold(features, dt_s, first, t, kept_in.data());
                for (int64_t i = 0; i < n_sub; ++i)
                    substep(v.data() + i * K, v.data() + (i + 1) * K, whole.data() + i * K, kept.data() + i * z.synapses);
                load(g_outputs + t * z.motors, first, z.time * z.motors, z.motors, y.data());
                for (int64_t o = 0; o < z.motors; ++o) {
                    sum_r[o] += y[o] * v[n_sub * K + motor[o]];
                    sum_o[o] += y[o];
                    g_v[motor[o]] += y[o] * readout_weight[o];
                }
                for (auto *zeroed : {&g_num, &g_den, &g_c}) zeroed->assign(K, V{});
                for (int64_t i = n_sub - 1; i >= 0; --i) {
                    for (int64_t k = 0; k < K; ++k) {
                        q[k] = g_v[k] / whole[i * K + k];
                        q_den[k] = -q[k] * v[(i + 1) * K + k];
                        g_num[k] += q[k];
                        g_den[k] += q_den[k];
                        g_c[k] += q[k] * v[i * K + k];
                        g_before[k] = c[k] * q[k];
                    }
                    recurrent.add_gradient(v.data() + i * K, kept.data() + i * z.synapses, q.data(), q_den.data(),
                                           g_before.data());
                    g_v.swap(g_before);
                }
                g_x.assign(z.inputs, V{});
                sensory.add_gradient(x.data(), kept_in.data(), g_num.data(), g_den.data(), g_x.data());
                V g_dt = {};
                for (int64_t k = 0; k < K; ++k) {
                    const V share = (g_c[k] + g_den[k]) / dt;  // c is in the denominator too
                    sum_c[k] += share * T(n_sub);
                    g_dt -= share * c[k];
                    sum_num[k] += g_num[k];
                    sum_den[k] += g_den[k];
                }
                store(&g_dt, first, z.time, 1, g_dt_s + t);
                for (int64_t i = 0; i < z.inputs; ++i) {
                    sum_w[i] += g_x[i] * raw[i];
                    sum_b[i] += g_x[i];
                    g_x[i] *= input_weight[i];
                }
                store(g_x.data(), first, z.time * z.inputs, z.inputs, g_features + t * z.inputs);
            }
            store(g_v.data(), first, K, K, g_state);
        }
        const auto total = Synapses<T>::total;
        const int64_t n_in = z.sensory;
        sensory.end_gradient(g_flat + at.w_raw, g_flat + at.sigma, g_flat + at.mu, g_flat + at.e_rev);
        recurrent.end_gradient(g_flat + at.w_raw + n_in, g_flat + at.sigma + n_in, g_flat + at.mu + n_in,
                               g_flat + at.e_rev + n_in);
        for (int64_t k = 0; k < K; ++k) {
            const double num = total(sum_num[k]), den = total(sum_den[k]);
            g_flat[at.c_m_raw + k] = T(total(sum_c[k]) * softplus_slope(c_m_raw[k]));
            g_flat[at.g_raw + k] = T((den + num * v_leak[k]) * softplus_slope(g_raw[k]));
            g_flat[at.v_leak + k] = T(num * g[k]);
        }
        T *rest = g_flat + at.input_weight;
        for (const auto *sums : {&sum_w, &sum_b, &sum_r, &sum_o})
            for (const V &lanes : *sums) *rest++ = T(total(lanes));
    }
};

}  // namespace

#define LTC_FUNCTIONS(T, NAME)                                                                                       \
    extern "C" void ltc_forward_##NAME(const Sizes *sizes, const int32_t *table, const T *flat, const T *features,   \
                                       const T *state, const T *dt_s, T *outputs, T *last, T *starts) {              \
        Cell<T>(*sizes, table, flat).forward(features, state, dt_s, outputs, last, starts);                          \
    }                                                                                                                \
    extern "C" void ltc_backward_##NAME(const Sizes *sizes, const int32_t *table, const T *flat, const T *features,  \
                                        const T *dt_s, const T *starts, const T *g_outputs, const T *g_last,         \
                                        T *g_features, T *g_state, T *g_dt_s, T *g_flat) {                           \
        Cell<T>(*sizes, table, flat)                                                                                 \
            .backward(features, dt_s, starts, g_outputs, g_last, g_features, g_state, g_dt_s, g_flat);               \
    }
LTC_FUNCTIONS(float, float32)
LTC_FUNCTIONS(double, float64)
