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
  /// Of what is written: never 64 bits.
  template <class Body>
  static inline void for_target(StoredFloat dtype, Body body) {
    switch (dtype) {
      case StoredFloat::f16:
        return body(Float16{});
      case StoredFloat::bf16:
        return body(Bfloat16{});
      default:
        return body(Float32{});
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
    for_target(dtype, [&]<class T>(T) { narrow_as<T>(from, count, to, past); });
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

  /// Asks for what the next strips will read: the processor's own read-ahead stops at every page.
  static inline void prefetch(const std::byte* from, std::size_t bytes) {
    constexpr std::size_t ahead = 256;
    for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(from + at + ahead);
  }
  /// Elements from i on, `width` vectors of them, from stored as D to stored as T.
  template <class D, class T, std::size_t width, bool based>
  static inline void merge_strip(const PlainMerge& merge, std::size_t i, std::byte* to, bool past) {
    constexpr std::size_t step = lanes * D::bytes;
    F bases[width] = {};
    F sums[width] = {};
    if constexpr (based) {
      const std::byte* from = merge.base + i * D::bytes;
      prefetch(from, width * step);
#pragma GCC unroll 8
      for (std::size_t v = 0; v < width; ++v) bases[v] = D::load_vector(from + v * step);
    }
    for (std::size_t k = 0; k < merge.sources.size(); ++k) {
      const F w = broadcast(merge.weights[k]);
      const std::byte* from = merge.sources[k] + i * D::bytes;
      prefetch(from, width * step);
#pragma GCC unroll 8
      for (std::size_t v = 0; v < width; ++v) {
        F x = D::load_vector(from + v * step);
        if constexpr (based) x = x - bases[v];
        sums[v] = S::fma(w, x, sums[v]);
      }
    }
    std::byte* out = to + i * T::bytes;
#pragma GCC unroll 8
    for (std::size_t v = 0; v < width; ++v, out += lanes * T::bytes) {
      if constexpr (based) sums[v] = S::fma(broadcast(merge.factor), sums[v], bases[v]);
      if (past) {
        T::stream_vector(out, sums[v]);
      } else {
        T::store_vector(out, sums[v]);
      }
    }
  }
  template <class D, class T, bool based>
  static inline void merge_strips(const PlainMerge& merge, std::size_t count, std::byte* to,
                                  bool past) {
    constexpr std::size_t width = 4;
    past = past && reinterpret_cast<std::uintptr_t>(to) % (lanes * T::bytes) == 0;
    std::size_t i = 0;
    for (; i + width * lanes <= count; i += width * lanes) {
      merge_strip<D, T, width, based>(merge, i, to, past);
    }
    for (; i + lanes <= count; i += lanes) merge_strip<D, T, 1, based>(merge, i, to, past);
    if (past) S::fence();
    if (i == count) return;
    const auto rest = [&](const std::byte* from) {
      std::byte bytes[lanes * D::bytes] = {};
      __builtin_memcpy(bytes, from + i * D::bytes, (count - i) * D::bytes);
      return D::load_vector(bytes);
    };
    F base = {};
    F sum = {};
    if constexpr (based) base = rest(merge.base);
    for (std::size_t k = 0; k < merge.sources.size(); ++k) {
      F x = rest(merge.sources[k]);
      if constexpr (based) x = x - base;
      sum = S::fma(broadcast(merge.weights[k]), x, sum);
    }
    if constexpr (based) sum = S::fma(broadcast(merge.factor), sum, base);
    std::byte last[lanes * T::bytes];
    T::store_vector(last, sum);
    __builtin_memcpy(to + i * T::bytes, last, (count - i) * T::bytes);
  }
  static void merge(const PlainMerge& merge, std::size_t count, StoredFloat to_dtype, std::byte* to,
                    bool past) {
    for_dtype(merge.dtype, [&]<class D>(D) {
      for_target(to_dtype, [&]<class T>(T) {
        if (merge.base == nullptr) {
          merge_strips<D, T, false>(merge, count, to, past);
        } else {
          merge_strips<D, T, true>(merge, count, to, past);
        }
      });
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
    return {name,   widen,        widen_difference, narrow,      accumulate, merge, combine,
            finish, keep_between, keep_random,      random_bits, elect,      weigh, divide};
  }
};

}  // namespace
}  // namespace paretod
