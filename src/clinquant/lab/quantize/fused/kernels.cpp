// Training kernels of quantized networks: batch norm, sum, clip and fake quantizer in two passes forward and two backward,
// and the fake quantizers of weights. A C interface, so that neither Python's nor PyTorch's headers are needed.
//
// Tensors are rows of channels (channels last), float32 or bfloat16; arithmetic is float32, 16 lanes at a time with the compiler's vector
// extensions; sums are float32 over at most 64 elements a lane, then float64. Work is cut into blocks whose number depends on shapes alone
// and whose sums are added in order: results are the same for every number of threads. No fused multiply-add but in `divided` (see build.py),
// so they are the same on every instruction set as well. Rounding is to nearest, ties to even, as in fake_quant/affine.py.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>
#ifdef __AVX512BW__
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;
using bf16 = uint16_t;

#ifdef __AVX512BW__

typedef __m512 Floats;
typedef __mmask16 Mask;

inline Floats fill(float v) { return _mm512_set1_ps(v); }
inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
inline Floats load(const bf16* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16));
}
inline __m512i biased(Floats v) {  // the upper half is v rounded
  const __m512i w = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(w, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(w, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
}
inline void store(bf16* p, Floats v) { _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(biased(v), 16))); }
inline Floats rounded_to(const bf16*, Floats v) { return _mm512_castsi512_ps(_mm512_and_si512(biased(v), _mm512_set1_epi32(-65536))); }
inline Floats clip(Floats v, Floats low, Floats high) { return _mm512_min_ps(high, _mm512_max_ps(low, v)); }  // NaN stays NaN
inline Mask at_least(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
inline Mask above(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline Floats where(Mask mask, Floats v) { return _mm512_maskz_mov_ps(mask, v); }
inline Floats where(Mask mask, Floats v, Floats other) { return _mm512_mask_mov_ps(other, mask, v); }
inline Floats nearest(Floats v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// v / by, correctly rounded as division is (Markstein 1990), in a fifth of its time.
inline Floats divided(Floats v, Floats by, Floats inverse) {
  const Floats q = _mm512_mul_ps(v, inverse);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(q, by, v), inverse, q);
}

#else

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Mask __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

inline Floats fill(float v) { return v - Floats{}; }
inline Floats load(const float* p) { Floats v; std::memcpy(&v, p, 64); return v; }
inline void store(float* p, Floats v) { std::memcpy(p, &v, 64); }
inline Floats load(const bf16* p) {
  Halves h;
  std::memcpy(&h, p, 32);
  return (Floats)(__builtin_convertvector(h, Words) << 16);
}
inline Words biased(Floats v) { return (Words)v + 0x7fff + (((Words)v >> 16) & 1); }  // the upper half is v rounded
inline void store(bf16* p, Floats v) {
  const Halves h = __builtin_convertvector(biased(v) >> 16, Halves);
  std::memcpy(p, &h, 32);
}
inline Floats rounded_to(const bf16*, Floats v) { return (Floats)(biased(v) & 0xffff0000u); }
inline Floats clip(Floats v, Floats low, Floats high) {  // NaN stays NaN
  v = v < low ? low : v;
  return v > high ? high : v;
}
inline Mask at_least(Floats a, Floats b) { return a >= b; }
inline Mask above(Floats a, Floats b) { return a > b; }
inline Floats where(Mask mask, Floats v) { return (Floats)((Mask)v & mask); }
inline Floats where(Mask mask, Floats v, Floats other) { return mask ? v : other; }
inline Floats nearest(Floats v) { return (v + 12582912.0f) - 12582912.0f; }  // 1.5 * 2^23, for |v| < 2^22
inline Floats divided(Floats v, Floats by, Floats) { return v / by; }

#endif

inline Floats rounded_to(const float*, Floats v) { return v; }
inline double lanes_sum(Floats v) {
  double sum = 0;
  for (int i = 0; i < LANES; i++) sum += v[i];
  return sum;
}

template <class T> inline Floats load_some(const T* p, int64_t n) {
  T all[LANES] = {};
  std::memcpy(all, p, n * sizeof(T));
  return load(all);
}
template <class T> inline void store_some(T* p, Floats v, int64_t n) {
  T all[LANES];
  store(all, v);
  std::memcpy(p, all, n * sizeof(T));
}

// A quantizer with one step: v_hat = round(clip(v / step, low, high)) step.
struct Grid {
  Floats step, inverse, low, high, end, learns_rounding, base;
  // learns_rounding: 1 where the step's gradient inside is round(v/s) - v/s (LSQ), 0 where it is 0 (PACT); `end`: first v/s outside;
  // base: what is taken off the code where that is the step's gradient, the lowest code where the offset is learnt (LSQ+).
  Grid(float step_, float low_, float high_, int lsq, float base_)
      : step(fill(step_)), inverse(fill(1 / step_)), low(fill(low_)), high(fill(high_)),
        end(fill(lsq ? std::nextafter(high_, INFINITY) : high_)), learns_rounding(fill(lsq ? 1.0f : 0.0f)), base(fill(base_)) {}
  Floats value(Floats v) const { return nearest(clip(divided(v, step, inverse), low, high)) * step; }
  Mask gradient(Floats x, Floats& of_step) const {
    const Floats v = divided(x, step, inverse), code = nearest(clip(v, low, high));
    const Mask inside = at_least(v, low) & above(end, v);
    of_step = where(inside, (code - v) * learns_rounding, code - base);
    return inside;
  }
};

// What one operator does with channels-last rows; absent tensors are null.
struct Job {
  int64_t rows, channels;
  const void *x, *skip;                    // batch norm's input; what is added to its output
  const float *gamma, *beta;               // absent: no batch norm, x is taken as it is
  float* statistics;                       // [4, channels]: factor, offset, mean, 1 / deviation; written forward, read backward
  float *running_mean, *running_variance;  // updated forward
  double momentum, epsilon;
  float clip_low, clip_high;               // the activation, infinite where there is none
  int32_t quantized;                       // 0: not; 1: the output itself; 2: a narrow copy
  int32_t lsq, learns_offset;
  float step, low, high;
  void *y, *q;                             // forward: output, quantized output
  const void *gradient_y, *gradient_q;     // backward, either may be absent
  void *gradient_x, *gradient_skip;
  float *gradient_gamma, *gradient_beta;   // [channels]
  double *gradient_step, *gradient_offset; // []; that of the offset: the sum outside the range; null where nothing is learnt
  int32_t threads;
  int32_t fixed;  // the statistics are given: batch norm is a constant factor and offset, and learns nothing
};

// Arrays that vectors read and write within one cache line.
template <class N> struct Aligned {
  using value_type = N;
  Aligned() = default;
  template <class M> Aligned(const Aligned<M>&) {}
  N* allocate(size_t n) { return static_cast<N*>(::operator new(n * sizeof(N), std::align_val_t(64))); }
  void deallocate(N* p, size_t) { ::operator delete(p, std::align_val_t(64)); }
  bool operator==(const Aligned&) const { return true; }
  bool operator!=(const Aligned&) const { return false; }
};
template <class N> using Array = std::vector<N, Aligned<N>>;

// Rows are taken together until they fill whole vectors: channel coefficients are repeated over such a period.
struct Cut {
  int64_t n, period, periods, tail, blocks;
  explicit Cut(const Job& job) : n(job.rows * job.channels) {
    period = job.channels;
    while (period % LANES || period < 128) period += job.channels;
    periods = n / period;
    tail = n % period;
    blocks = std::max<int64_t>(1, std::min<int64_t>(32, n / 32768));
  }
  int64_t begin(int64_t block) const { return periods * block / blocks; }
};

Array<float> repeated(const float* values, int64_t channels, int64_t period) {
  Array<float> out(period);
  for (int64_t start = 0; start < period; start += channels) std::copy(values, values + channels, out.begin() + start);
  return out;
}

// Runs step(sums, offset, position) over every 16 elements of whole periods; position counts within the period. After at most 64 periods
// of a block, flush(block). Steps capture by value: nothing they hold can then be an alias of what they write.
template <class Step, class Flush> void sweep(const Cut& cut, int threads, const Step& step, const Flush& flush) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t block = 0; block < cut.blocks; block++) {
    const Step own = step;
    const int64_t end = cut.begin(block + 1), period = cut.period;
    for (int64_t first = cut.begin(block); first < end; first += 64) {
      for (int64_t row = first; row < std::min(end, first + 64); row++)
        for (int64_t i = 0; i < period; i += LANES) own(block, row * period + i, i);
      flush(block);
    }
  }
}

// Sums by channel of `COUNT` quantities, in an order that shapes alone decide.
template <int COUNT> struct Sums {
  const Cut& cut;
  Array<float> near;   // [blocks, COUNT, period]
  Array<double> far;   // [blocks, COUNT, period]
  explicit Sums(const Cut& cut_) : cut(cut_), near(cut_.blocks * COUNT * cut_.period), far(near.size()) {}
  void flush(int64_t block) {
    float* from = near.data() + block * COUNT * cut.period;
    double* to = far.data() + block * COUNT * cut.period;
    for (int64_t i = 0; i < COUNT * cut.period; i++) { to[i] += from[i]; from[i] = 0; }
  }
  Array<double> by_channel(int64_t channels) const {
    Array<double> out(COUNT * channels);
    for (int64_t block = 0; block < cut.blocks; block++)
      for (int k = 0; k < COUNT; k++)
        for (int64_t start = 0; start < cut.period; start += channels) {
          const double* from = &far[(block * COUNT + k) * cut.period + start];
          for (int64_t c = 0; c < channels; c++) out[k * channels + c] += from[c];
        }
    return out;
  }
};

template <class T> void norm_statistics(const Job& job, const Cut& cut) {
  const int64_t channels = job.channels;
  const T* x = (const T*)job.x;
  Array<float> first(channels);  // the first row: differences from it lose less to cancellation
  for (int64_t c = 0; c < channels; c++) first[c] = load_some(x + c, 1)[0];
  const Array<float> shift = repeated(first.data(), channels, cut.period);
  Sums<2> sums(cut);
  const float* shifts = shift.data();
  float* near = sums.near.data();
  const int64_t period = cut.period;
  const auto add = [=](int64_t block, int64_t i, Floats v) {
    float* to = near + block * 2 * period + i;
    store(to, load(to) + v);
    store(to + period, load(to + period) + v * v);
  };
  sweep(cut, job.threads, [=](int64_t block, int64_t at, int64_t i) { add(block, i, load(x + at) - load(shifts + i)); },
        [&](int64_t block) { sums.flush(block); });
  for (int64_t i = 0; i < cut.tail; i += LANES) {
    const int64_t n = std::min<int64_t>(LANES, cut.tail - i);
    add(0, i, load_some(x + cut.periods * period + i, n) - load_some(shifts + i, n));
  }
  sums.flush(0);
  const Array<double> total = sums.by_channel(channels);
  const double m = (double)job.rows;
  for (int64_t c = 0; c < channels; c++) {
    const double off = total[c] / m, mean = first[c] + off, variance = std::max(0.0, total[channels + c] / m - off * off);
    const double inverse = 1 / std::sqrt(variance + job.epsilon);
    float* s = job.statistics + c;
    s[0] = (float)(job.gamma[c] * inverse);
    s[channels] = (float)(job.beta[c] - mean * job.gamma[c] * inverse);
    s[2 * channels] = (float)mean;
    s[3 * channels] = (float)inverse;
    if (job.running_mean) {
      job.running_mean[c] += (float)(job.momentum * (mean - job.running_mean[c]));
      job.running_variance[c] += (float)(job.momentum * (variance * m / std::max(1.0, m - 1) - job.running_variance[c]));
    }
  }
}

// The operator's value before its clip.
template <bool NORM, bool SKIP> struct Value {
  const float *factor, *offset;
  Floats operator()(Floats v, Floats added, int64_t i) const {
    if (NORM) v = v * load(factor + i) + load(offset + i);
    return SKIP ? v + added : v;
  }
};

struct Coefficients {
  Array<float> factor, offset, mean;
  Coefficients(const Job& job, const Cut& cut) {
    const float* s = job.statistics;
    if (!job.gamma) return;
    factor = repeated(s, job.channels, cut.period);
    offset = repeated(s + job.channels, job.channels, cut.period);
    mean = repeated(s + 2 * job.channels, job.channels, cut.period);
  }
};

template <class T, bool NORM, bool SKIP, int QUANTIZED> void forward_as(const Job& job) {
  const Cut cut(job);
  if (NORM && !job.fixed) norm_statistics<T>(job, cut);
  const Coefficients coefficients(job, cut);
  const Value<NORM, SKIP> value{coefficients.factor.data(), coefficients.offset.data()};
  const Grid grid(job.step, job.low, job.high, job.lsq, job.learns_offset ? job.low : 0.0f);
  const Floats low = fill(job.clip_low), high = fill(job.clip_high);
  const T *x = (const T*)job.x, *skip = (const T*)job.skip;
  T *y = (T*)job.y, *q = (T*)job.q;
  const auto clipped = [=](Floats v, Floats added, int64_t i) {
    const Floats z = clip(value(v, added, i), low, high);
    return QUANTIZED == 1 ? z : rounded_to(y, z);
  };
  sweep(cut, job.threads, [=](int64_t, int64_t at, int64_t i) {
    const Floats v = clipped(load(x + at), SKIP ? load(skip + at) : Floats{}, i);
    if (QUANTIZED != 1) store(y + at, v);
    if (QUANTIZED) store(q + at, grid.value(v));
  }, [](int64_t) {});
  for (int64_t i = 0; i < cut.tail; i += LANES) {
    const int64_t n = std::min<int64_t>(LANES, cut.tail - i), at = cut.periods * cut.period + i;
    const Floats v = clipped(load_some(x + at, n), SKIP ? load_some(skip + at, n) : Floats{}, i);
    if (QUANTIZED != 1) store_some(y + at, v, n);
    if (QUANTIZED) store_some(q + at, grid.value(v), n);
  }
}

template <class T, bool NORM, bool SKIP, int QUANTIZED> void backward_as(const Job& job) {
  const Cut cut(job);
  const Coefficients coefficients(job, cut);
  const Value<NORM, SKIP> value{coefficients.factor.data(), coefficients.offset.data()};
  const Grid grid(job.step, job.low, job.high, job.lsq, job.learns_offset ? job.low : 0.0f);
  const Floats low = fill(job.clip_low), high = fill(job.clip_high);
  const T *x = (const T*)job.x, *skip = (const T*)job.skip;
  const T *of_y = QUANTIZED == 1 ? nullptr : (const T*)job.gradient_y, *of_q = QUANTIZED ? (const T*)job.gradient_q : nullptr;
  T *of_x = (T*)job.gradient_x, *of_skip = (T*)job.gradient_skip;
  const int64_t channels = job.channels, rest = cut.periods * cut.period, period = cut.period;
  const auto whole = [](const T* p, int64_t at) { return p ? load(p + at) : Floats{}; };
  const auto some = [](const T* p, int64_t at, int64_t n) { return p ? load_some(p + at, n) : Floats{}; };
  // Gradient before the clip; `step` becomes that of the step, `outside` what falls outside the range.
  const auto gradient = [=](Floats v, Floats added, Floats gy, Floats gq, int64_t i, Floats& step, Floats& outside) {
    const Floats z = value(v, added, i);
    Floats g = gy;
    if (QUANTIZED) {
      const Floats y = clip(z, low, high);
      Floats term;
      const Mask inside = grid.gradient(QUANTIZED == 2 ? rounded_to(of_x, y) : y, term);
      const Floats passed = where(inside, gq);
      step = term * gq;
      outside = gq - passed;
      g = QUANTIZED == 1 ? passed : gy + passed;
    }
    return where(above(z, low) & above(high, z), g);
  };
  Sums<4> sums(cut);
  const bool fixed = job.fixed, learns = job.gradient_step, offset = learns && job.learns_offset;
  float* near = sums.near.data();
  const float *mean = coefficients.mean.data(), *factors = coefficients.factor.data();
  const auto add = [=](int64_t block, int64_t i, Floats g, Floats v, Floats step, Floats outside) {
    float* to = near + block * 4 * period + i;
    if (NORM && !fixed) {
      store(to, load(to) + g);
      store(to + period, load(to + period) + g * (v - load(mean + i)));
    }
    if (QUANTIZED && learns) store(to + 2 * period, load(to + 2 * period) + step);
    if (QUANTIZED && offset) store(to + 3 * period, load(to + 3 * period) + outside);
  };
  sweep(cut, job.threads, [=](int64_t block, int64_t at, int64_t i) {
    const Floats v = load(x + at);
    Floats step{}, outside{};
    Floats g = gradient(v, SKIP ? load(skip + at) : Floats{}, whole(of_y, at), whole(of_q, at), i, step, outside);
    if (SKIP) { g = rounded_to(of_x, g); store(of_skip + at, g); }
    if (!NORM) store(of_x + at, g);
    else if (fixed) store(of_x + at, load(factors + i) * g);
    add(block, i, g, v, step, outside);
  }, [&](int64_t block) { sums.flush(block); });
  for (int64_t i = 0; i < cut.tail; i += LANES) {
    const int64_t n = std::min<int64_t>(LANES, cut.tail - i), at = rest + i;
    const Floats v = load_some(x + at, n);
    Floats step{}, outside{};
    Floats g = gradient(v, some(SKIP ? skip : nullptr, at, n), some(of_y, at, n), some(of_q, at, n), i, step, outside);
    if (SKIP) { g = rounded_to(of_x, g); store_some(of_skip + at, g, n); }
    if (!NORM) store_some(of_x + at, g, n);
    else if (fixed) store_some(of_x + at, load(factors + i) * g, n);
    add(0, i, g, v, step, outside);
  }
  sums.flush(0);
  const Array<double> total = sums.by_channel(channels);
  if (QUANTIZED && learns) {
    *job.gradient_step = *job.gradient_offset = 0;
    for (int64_t c = 0; c < channels; c++) {
      *job.gradient_step += total[2 * channels + c];
      *job.gradient_offset += total[3 * channels + c];
    }
  }
  if (!NORM || fixed) return;
  Array<float> constant(channels), slope(channels);
  for (int64_t c = 0; c < channels; c++) {
    const double factor = job.statistics[c], center = job.statistics[2 * channels + c], inverse = job.statistics[3 * channels + c];
    job.gradient_beta[c] = (float)total[c];
    job.gradient_gamma[c] = (float)(total[channels + c] * inverse);
    const double k = -factor * inverse * inverse * total[channels + c] / job.rows;
    slope[c] = (float)k;
    constant[c] = (float)(-factor * total[c] / job.rows - k * center);
  }
  const Array<float> all_constants = repeated(constant.data(), channels, period), all_slopes = repeated(slope.data(), channels, period);
  const float *constants = all_constants.data(), *slopes = all_slopes.data();
  const auto of_input = [=](Floats g, Floats v, int64_t i) { return load(factors + i) * g + load(constants + i) + load(slopes + i) * v; };
  sweep(cut, job.threads, [=](int64_t, int64_t at, int64_t i) {
    const Floats v = load(x + at);
    Floats step{}, outside{};
    const Floats g = SKIP ? load(of_skip + at) : gradient(v, Floats{}, whole(of_y, at), whole(of_q, at), i, step, outside);
    store(of_x + at, of_input(g, v, i));
  }, [](int64_t) {});
  for (int64_t i = 0; i < cut.tail; i += LANES) {
    const int64_t n = std::min<int64_t>(LANES, cut.tail - i), at = rest + i;
    const Floats v = load_some(x + at, n);
    Floats step{}, outside{};
    const Floats g = SKIP ? load_some(of_skip + at, n) : gradient(v, Floats{}, some(of_y, at, n), some(of_q, at, n), i, step, outside);
    store_some(of_x + at, of_input(g, v, i), n);
  }
}

template <class T, bool NORM, bool SKIP> void run(const Job& job, bool backward) {
  if (job.quantized == 0) backward ? backward_as<T, NORM, SKIP, 0>(job) : forward_as<T, NORM, SKIP, 0>(job);
  else if (job.quantized == 1) backward ? backward_as<T, NORM, SKIP, 1>(job) : forward_as<T, NORM, SKIP, 1>(job);
  else backward ? backward_as<T, NORM, SKIP, 2>(job) : forward_as<T, NORM, SKIP, 2>(job);
}
template <class T> void run(const Job& job, bool backward) {
  if (job.gamma) job.skip ? run<T, true, true>(job, backward) : run<T, true, false>(job, backward);
  else job.skip ? run<T, false, true>(job, backward) : run<T, false, false>(job, backward);
}

// Weights of one layer, float32 [channels, size], a step a channel.
struct Weights {
  int64_t channels, size;
  const float *weight, *step;
  float low, high;
  void* q;                  // forward
  const void* gradient_q;   // backward
  float *gradient, *gradient_step;
};

template <class T> void weights_forward(const Weights& w, int64_t channel) {
  const Grid grid(w.step[channel], w.low, w.high, 1, 0.0f);
  const float* x = w.weight + channel * w.size;
  T* q = (T*)w.q + channel * w.size;
  int64_t i = 0;
  for (; i + LANES <= w.size; i += LANES) store(q + i, grid.value(load(x + i)));
  if (i < w.size) store_some(q + i, grid.value(load_some(x + i, w.size - i)), w.size - i);
}

template <class T> void weights_backward(const Weights& w, int64_t channel) {
  const Grid grid(w.step[channel], w.low, w.high, 1, 0.0f);
  const float* x = w.weight + channel * w.size;
  const T* of_q = (const T*)w.gradient_q + channel * w.size;
  float* out = w.gradient + channel * w.size;
  Floats sum{}, term;
  int64_t i = 0;
  for (; i + LANES <= w.size; i += LANES) {
    const Floats g = load(of_q + i);
    store(out + i, where(grid.gradient(load(x + i), term), g));
    sum += term * g;
  }
  if (i < w.size) {
    const Floats g = load_some(of_q + i, w.size - i);
    store_some(out + i, where(grid.gradient(load_some(x + i, w.size - i), term), g), w.size - i);
    sum += term * g;
  }
  w.gradient_step[channel] = (float)(lanes_sum(sum) / std::sqrt((double)w.size * w.high));
}

}  // namespace

extern "C" {

void clinquant_activation(const Job* job, int32_t half, int32_t backward) {
  half ? run<bf16>(*job, backward) : run<float>(*job, backward);
}

void clinquant_weights(const Weights* layers, int64_t count, int32_t half, int32_t backward, int32_t threads) {
#pragma omp parallel num_threads(threads)
  for (int64_t layer = 0; layer < count; layer++) {
    const Weights& w = layers[layer];
#pragma omp for schedule(static) nowait
    for (int64_t channel = 0; channel < w.channels; channel++) {
      if (half) backward ? weights_backward<bf16>(w, channel) : weights_forward<bf16>(w, channel);
      else backward ? weights_backward<float>(w, channel) : weights_forward<float>(w, channel);
    }
  }
}

}
