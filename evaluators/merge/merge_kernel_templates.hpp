#pragma once
// The kernels of merge_kernels.hpp as templates over an instruction set S.  Included by the
// merge_kernels_*.cpp sources only, each compiled for its own instruction set: hence the unnamed
// namespace, and no include that could leave an inline function compiled for a processor that is
// not there.
//
// S provides the vectors F, I and U (S::lanes floats, signed and unsigned 32-bit numbers) and H
// (as many 16-bit numbers), fma (one rounding where the processor can), load_half, store_half and
// the stores that pass the caches.  S::group is how many candidates share a loaded row.

#include "evaluators/merge/merge_kernels.hpp"

namespace paretod {
namespace {

template <class S>
struct MergeKernelSet {
  using F = typename S::F;
  using I = typename S::I;
  using U = typename S::U;
  using H = typename S::H;
  static constexpr std::size_t lanes = S::lanes;
  static constexpr std::size_t strip = 2 * lanes;
  static_assert(merge_pad % strip == 0);

  template <class V, class T>
  static inline V load(const T* from) {
    V x;
    __builtin_memcpy(&x, from, sizeof x);
    return x;
  }
  template <class V, class T>
  static inline void store(T* to, V x) {
    __builtin_memcpy(to, &x, sizeof x);
  }
  static inline F broadcast(float x) { return x - F{}; }

  // One stored dtype each: bytes per number, and a vector of them from and to memory.
  struct Float32 {
    static constexpr std::size_t bytes = 4;
    static inline F load_vector(const std::byte* from) { return load<F>(from); }
    static inline void store_vector(std::byte* to, F x) { store(to, x); }
    static inline void stream_vector(std::byte* to, F x) { S::stream(to, x); }
  };
  struct Float16 {
    static constexpr std::size_t bytes = 2;
    static inline F load_vector(const std::byte* from) { return S::widen_half(load<H>(from)); }
    static inline void store_vector(std::byte* to, F x) { store(to, S::narrow_half(x)); }
    static inline void stream_vector(std::byte* to, F x) { S::stream(to, S::narrow_half(x)); }
  };
  struct Bfloat16 {
    static constexpr std::size_t bytes = 2;
    static inline H narrow_vector(F x) {
      const U bits = (U)x;
      const U rounded = (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16;
      const U quiet = bits >> 16 | 0x40U;
      const U nan = (U)((I)(bits & 0x7FFFFFFFU) > 0x7F800000);
      return __builtin_convertvector((quiet & nan) | (rounded & ~nan), H);
    }
    static inline F load_vector(const std::byte* from) {
      return (F)(__builtin_convertvector(load<H>(from), U) << 16);
    }
    static inline void store_vector(std::byte* to, F x) { store(to, narrow_vector(x)); }
    static inline void stream_vector(std::byte* to, F x) { S::stream(to, narrow_vector(x)); }
  };

  struct Float64 {
    static constexpr std::size_t bytes = 8;
    static inline F load_vector(const std::byte* from) {
      float narrowed[lanes];
      for (std::size_t l = 0; l < lanes; ++l) {
        narrowed[l] = static_cast<float>(load<double>(from + l * bytes));
      }
      return load<F>(narrowed);
    }
  };

  /// body(i, vector) for each vector of stored numbers; what lies beyond `count` reads as 0.
  template <class D, class Body>
  static inline void for_stored(const std::byte* from, std::size_t count, Body body) {
    std::size_t i = 0;
    for (; i + lanes <= count; i += lanes) body(i, D::load_vector(from + i * D::bytes));
    if (i == count) return;
    std::byte rest[lanes * D::bytes] = {};
    __builtin_memcpy(rest, from + i * D::bytes, (count - i) * D::bytes);
    body(i, D::load_vector(rest));
  }
  template <class Body>
  static inline void for_dtype(StoredFloat dtype, Body body) {
    switch (dtype) {
      case StoredFloat::f32:
        return body(Float32{});
      case StoredFloat::f16:
        return body(Float16{});
      case StoredFloat::bf16:
        return body(Bfloat16{});
      case StoredFloat::f64:
        return body(Float64{});
    }
  }
  static inline void clear_padding(std::size_t count, float* row) {
    const std::size_t done = (count + lanes - 1) / lanes * lanes;
    for (std::size_t i = done; i < merge_padded(count); i += lanes) store(row + i, F{});
  }

  static void widen(StoredFloat dtype, const std::byte* from, std::size_t count, float* to) {
    for_dtype(dtype, [&]<class D>(D) {
      for_stored<D>(from, count, [&](std::size_t i, F x) { store(to + i, x); });
    });
    clear_padding(count, to);
  }

  static void widen_difference(StoredFloat dtype, const std::byte* from, const float* base,
                               std::size_t count, float* to) {
    for_dtype(dtype, [&]<class D>(D) {
      for_stored<D>(from, count, [&](std::size_t i, F x) { store(to + i, x - load<F>(base + i)); });
    });
    clear_padding(count, to);
  }

  template <class D>
  static inline void narrow_as(const float* from, std::size_t count, std::byte* to, bool past) {
    std::size_t i = 0;
    if (past && reinterpret_cast<std::uintptr_t>(to) % (lanes * D::bytes) == 0) {
      for (; i + lanes <= count; i += lanes) {
        D::stream_vector(to + i * D::bytes, load<F>(from + i));
      }
      S::fence();
    }
    for (; i + lanes <= count; i += lanes) D::store_vector(to + i * D::bytes, load<F>(from + i));
    if (i == count) return;
    std::byte rest[lanes * D::bytes];
    D::store_vector(rest, load<F>(from + i));
    __builtin_memcpy(to + i * D::bytes, rest, (count - i) * D::bytes);
  }
  static void narrow(StoredFloat dtype, const float* from, std::size_t count, std::byte* to,
                     bool past) {
    switch (dtype) {
      case StoredFloat::f16:
        return narrow_as<Float16>(from, count, to, past);
      case StoredFloat::bf16:
        return narrow_as<Bfloat16>(from, count, to, past);
      default:
        return narrow_as<Float32>(from, count, to, past);
    }
  }

  static void accumulate(StoredFloat dtype, const std::byte* from, const float* base, float weight,
                         std::size_t count, float* sum) {
    const F w = broadcast(weight);
    for_dtype(dtype, [&]<class D>(D) {
      if (base == nullptr) {
        for_stored<D>(from, count,
                      [&](std::size_t i, F x) { store(sum + i, S::fma(w, x, load<F>(sum + i))); });
      } else {
        for_stored<D>(from, count, [&](std::size_t i, F x) {
          store(sum + i, S::fma(w, x - load<F>(base + i), load<F>(sum + i)));
        });
      }
    });
  }

  /// Sources from element i on, `width` vectors at a time.
  template <class D, std::size_t width, bool differences>
  static inline void accumulate_strip(const std::byte* const* from, std::size_t rows,
                                      const float* base, const float* weights, std::size_t i,
                                      float* sum) {
    F sums[width] = {};
    F bases[width] = {};
    if constexpr (differences) {
#pragma GCC unroll 8
      for (std::size_t v = 0; v < width; ++v) bases[v] = load<F>(base + i + v * lanes);
    }
    for (std::size_t k = 0; k < rows; ++k) {
      const F w = broadcast(weights[k]);
#pragma GCC unroll 8
      for (std::size_t v = 0; v < width; ++v) {
        F x = D::load_vector(from[k] + (i + v * lanes) * D::bytes);
        if constexpr (differences) x = x - bases[v];
        sums[v] = S::fma(w, x, sums[v]);
      }
    }
#pragma GCC unroll 8
    for (std::size_t v = 0; v < width; ++v) store(sum + i + v * lanes, sums[v]);
  }
  template <class D, bool differences>
  static inline void accumulate_strips(const std::byte* const* from, std::size_t rows,
                                       const float* base, const float* weights, std::size_t count,
                                       float* sum) {
    constexpr std::size_t width = 4;
    std::size_t i = 0;
    for (; i + width * lanes <= count; i += width * lanes) {
      accumulate_strip<D, width, differences>(from, rows, base, weights, i, sum);
    }
    for (; i + lanes <= count; i += lanes) {
      accumulate_strip<D, 1, differences>(from, rows, base, weights, i, sum);
    }
    if (i == count) return;
    F last = {};
    for (std::size_t k = 0; k < rows; ++k) {
      std::byte rest[lanes * D::bytes] = {};
      __builtin_memcpy(rest, from[k] + i * D::bytes, (count - i) * D::bytes);
      F x = D::load_vector(rest);
      if constexpr (differences) x = x - load<F>(base + i);
      last = S::fma(broadcast(weights[k]), x, last);
    }
    store(sum + i, last);
  }
  static void accumulate_all(StoredFloat dtype, const std::byte* const* from, std::size_t rows,
                             const float* base, const float* weights, std::size_t count,
                             float* sum) {
    for_dtype(dtype, [&]<class D>(D) {
      if (base == nullptr) {
        accumulate_strips<D, false>(from, rows, base, weights, count, sum);
      } else {
        accumulate_strips<D, true>(from, rows, base, weights, count, sum);
      }
    });
  }

  template <std::size_t group>
  static inline void combine_group(const float* panel, std::size_t rows, const float* weights,
                                   std::size_t count, float* out, std::size_t stride) {
    for (std::size_t i = 0; i < merge_padded(count); i += strip) {
      F sums[group][2] = {};
      for (std::size_t k = 0; k < rows; ++k) {
        const F x0 = load<F>(panel + k * stride + i);
        const F x1 = load<F>(panel + k * stride + i + lanes);
#pragma GCC unroll 8
        for (std::size_t p = 0; p < group; ++p) {
          const F w = broadcast(weights[p * rows + k]);
          sums[p][0] = S::fma(w, x0, sums[p][0]);
          sums[p][1] = S::fma(w, x1, sums[p][1]);
        }
      }
#pragma GCC unroll 8
      for (std::size_t p = 0; p < group; ++p) {
        store(out + p * stride + i, sums[p][0]);
        store(out + p * stride + i + lanes, sums[p][1]);
      }
    }
  }
  static void combine(const float* panel, std::size_t rows, const float* weights,
                      std::size_t candidates, std::size_t count, float* out, std::size_t stride) {
    std::size_t p = 0;
    for (; p + S::group <= candidates; p += S::group) {
      combine_group<S::group>(panel, rows, weights + p * rows, count, out + p * stride, stride);
    }
    for (; p + 2 <= candidates; p += 2) {
      combine_group<2>(panel, rows, weights + p * rows, count, out + p * stride, stride);
    }
    if (p < candidates) {
      combine_group<1>(panel, rows, weights + p * rows, count, out + p * stride, stride);
    }
  }

  static void finish(const float* base, float factor, std::size_t count, float* inout) {
    const F f = broadcast(factor);
    for (std::size_t i = 0; i < count; i += lanes) {
      store(inout + i, S::fma(f, load<F>(inout + i), load<F>(base + i)));
    }
  }

  static void keep_between(const float* d, std::size_t count, std::int32_t low, std::int32_t high,
                           float factor, float* out) {
    const F f = broadcast(factor);
    for (std::size_t i = 0; i < count; i += lanes) {
      const F x = load<F>(d + i);
      const I bits = (I)x & 0x7FFFFFFF;
      const I kept = (bits > low) & (bits <= high);
      store(out + i, (F)((I)(f * x) & kept));
    }
  }

  static void keep_random(const float* d, const std::uint32_t* random, std::size_t count,
                          std::uint32_t below, float factor, float* out) {
    const F f = broadcast(factor);
    for (std::size_t i = 0; i < count; i += lanes) {
      const I kept = (I)(load<U>(random + i) < below);
      store(out + i, (F)((I)(f * load<F>(d + i)) & kept));
    }
  }

  // Philox4x32-10 (Salmon et al., SC 2011) on `lanes` counters at a time.
  static void random_bits(std::uint64_t key, std::uint64_t first, std::size_t count,
                          std::uint32_t* out) {
    for (std::size_t done = 0; done < merge_padded(count); done += 4 * lanes) {
      U c0;
      U c1;
      for (std::size_t l = 0; l < lanes; ++l) {
        const std::uint64_t counter = (first + done) / 4 + l;
        c0[l] = static_cast<std::uint32_t>(counter);
        c1[l] = static_cast<std::uint32_t>(counter >> 32);
      }
      U c2 = {};
      U c3 = {};
      std::uint32_t k0 = static_cast<std::uint32_t>(key);
      std::uint32_t k1 = static_cast<std::uint32_t>(key >> 32);
      for (int round = 0; round < 10; ++round) {
        const auto [high0, low0] = multiply(0xD2511F53U, c0);
        const auto [high1, low1] = multiply(0xCD9E8D57U, c2);
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
      }
      std::uint32_t block[4 * lanes];
      for (std::size_t l = 0; l < lanes; ++l) {
        block[4 * l] = c0[l];
        block[4 * l + 1] = c1[l];
        block[4 * l + 2] = c2[l];
        block[4 * l + 3] = c3[l];
      }
      const std::size_t some = merge_padded(count) - done;
      __builtin_memcpy(out + done, block, 4 * (some < 4 * lanes ? some : 4 * lanes));
    }
  }
  struct Product {
    U high;
    U low;
  };
  static inline Product multiply(std::uint32_t a, U b) {
    // Even and odd numbers as 64-bit products.
    typedef std::uint64_t W __attribute__((vector_size(sizeof(U))));
    const W wide = (W)b;
    const W even = (wide & 0xFFFFFFFFU) * (W{} + a);
    const W odd = (wide >> 32) * (W{} + a);
    return {(U)((even >> 32) | (odd & 0xFFFFFFFF00000000U)), b * a};
  }

  static void elect(const float* panel, std::size_t rows, const float* weights, bool divide,
                    std::size_t count, float* out, std::size_t stride) {
    for (std::size_t i = 0; i < count; i += lanes) {
      F total = {};
      for (std::size_t k = 0; k < rows; ++k) total = total + load<F>(panel + k * stride + i);
      const I positive = total >= F{};
      F sum = {};
      F divisor = {};
      for (std::size_t k = 0; k < rows; ++k) {
        const F x = load<F>(panel + k * stride + i);
        const I agrees = (positive & (x > F{})) | (~positive & (x < F{}));
        sum = sum + (F)((I)x & agrees);
        divisor = divisor + (F)((I)broadcast(weights[k]) & agrees);
      }
      if (divide) {
        const I none = divisor == F{};
        sum = sum / (F)(((I)broadcast(1.0F) & none) | ((I)divisor & ~none));
      }
      store(out + i, sum);
    }
  }

  static bool weigh(const float* values, const float* importance, std::size_t count,
                    float* products) {
    I wrong = {};
    for (std::size_t i = 0; i < count; i += lanes) {
      const F f = load<F>(importance + i);
      wrong |= ~(f >= F{});
      store(products + i, f * load<F>(values + i));
    }
    bool right = true;
    for (std::size_t l = 0; l < lanes; ++l) right = right && wrong[l] == 0;
    return right;
  }

  static void divide(const float* divisor, const float* fallback, std::size_t count, float* out) {
    for (std::size_t i = 0; i < count; i += lanes) {
      const F d = load<F>(divisor + i);
      const I none = d == F{};
      const F quotient = load<F>(out + i) / d;
      store(out + i, (F)(((I)load<F>(fallback + i) & none) | ((I)quotient & ~none)));
    }
  }

  static constexpr MergeKernels table(const char* name) {
    return {name,    widen,  widen_difference, narrow,      accumulate,  accumulate_all,
            combine, finish, keep_between,     keep_random, random_bits, elect,
            weigh,   divide};
  }
};

}  // namespace
}  // namespace paretod
