#pragma once
// The kernels of simd.hpp as templates over an instruction set S.  Included by the simd_*.cpp
// sources only, each compiled for its own instruction set: hence the unnamed namespace, and no
// include that could leave an inline function compiled for a processor that is not there.
//
// S provides the vectors F (S::lanes floats) and D (half as many doubles), on which + - * / work,
// and load, store, broadcast, fma (one rounding where the processor can), min, max (returning the
// second operand when either is NaN), sqrt, round, power_of_two and the two widening loads.  It
// fixes the register blocking: S::rows x S::vectors accumulators.

#include "evaluators/diffusion/simd.hpp"

namespace paretod {
namespace {

template <class S>
struct Kernels {
  using F = typename S::F;
  using D = typename S::D;
  static constexpr std::size_t lanes = S::lanes;
  static constexpr std::size_t rows = S::rows;
  static constexpr std::size_t vectors = S::vectors;
  static constexpr std::size_t strip = vectors * lanes;
  static_assert(tile_lanes % strip == 0 && row_block % rows == 0);
  static_assert(merge_strip % (2 * lanes) == 0 && merge_columns % merge_strip == 0);

  // exp(x) = scale (1 + rest), |x| <= 87: rest = exp(r) - 1 by Taylor's series on |r| <= ln(2)/2,
  // whose first dropped term is 5e-9 of the result.
  struct Exponential {
    F scale;
    F rest;
  };
  static inline Exponential exponential(F x) {
    const F n = S::round(x * S::broadcast(1.44269504F));
    // ln 2 in two parts: the first has trailing zeros, so that n times it is exact.
    F r = S::fma(n, S::broadcast(-0.693359375F), x);
    r = S::fma(n, S::broadcast(2.12194440e-4F), r);
    F series = S::broadcast(1.0F / 5040);
    series = S::fma(series, r, S::broadcast(1.0F / 720));
    series = S::fma(series, r, S::broadcast(1.0F / 120));
    series = S::fma(series, r, S::broadcast(1.0F / 24));
    series = S::fma(series, r, S::broadcast(1.0F / 6));
    series = S::fma(series, r, S::broadcast(0.5F));
    return {S::power_of_two(n), S::fma(series * r, r, r)};
  }
  static inline F clamp(F x, float low, float high) {
    return S::max(S::broadcast(low), S::min(S::broadcast(high), x));
  }
  static inline F silu(F x) {
    const Exponential e = exponential(clamp(S::broadcast(0.0F) - x, -80.0F, 80.0F));
    return x / (S::broadcast(1.0F) + S::fma(e.scale, e.rest, e.scale));
  }
  static inline F tanh(F x) {
    const F y = clamp(x, -10.0F, 10.0F);
    const Exponential e = exponential(y + y);
    const F minus_one = S::fma(e.scale, e.rest, e.scale - S::broadcast(1.0F));
    return minus_one / (minus_one + S::broadcast(2.0F));
  }

  template <Epilogue epilogue>
  static inline void linear_block(const float* weights, const float* bias, std::size_t inputs,
                                  const float* input, float* output) {
    F sums[rows][vectors];
#pragma GCC unroll 8
    for (std::size_t m = 0; m < rows; ++m) {
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v) sums[m][v] = S::broadcast(bias[m]);
    }
    for (std::size_t k = 0; k < inputs; ++k) {
      F column[vectors];
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v) {
        column[v] = S::load(input + k * tile_lanes + v * lanes);
      }
#pragma GCC unroll 8
      for (std::size_t m = 0; m < rows; ++m) {
        const F weight = S::broadcast(weights[k * row_block + m]);
#pragma GCC unroll 8
        for (std::size_t v = 0; v < vectors; ++v) {
          sums[m][v] = S::fma(weight, column[v], sums[m][v]);
        }
      }
    }
#pragma GCC unroll 8
    for (std::size_t m = 0; m < rows; ++m) {
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v) {
        float* to = output + m * tile_lanes + v * lanes;
        F sum = sums[m][v];
        if constexpr (epilogue == Epilogue::add) sum = sum + S::load(to);
        if constexpr (epilogue == Epilogue::silu) sum = silu(sum);
        if constexpr (epilogue == Epilogue::tanh) sum = tanh(sum);
        S::store(to, sum);
      }
    }
  }

  template <Epilogue epilogue>
  static void linear_tile(const PackedLinear& layer, const float* input, float* output) {
    for (std::size_t row = 0; row < layer.outputs; row += row_block) {
      const float* weights = layer.weights + row * layer.inputs;
      for (std::size_t lane = 0; lane < tile_lanes; lane += strip) {
        for (std::size_t part = 0; part < row_block; part += rows) {
          linear_block<epilogue>(weights + part, layer.bias + row + part, layer.inputs,
                                 input + lane, output + (row + part) * tile_lanes + lane);
        }
      }
    }
  }

  static void linear(const PackedLinear& layer, const float* input, Epilogue epilogue,
                     float* output) {
    switch (epilogue) {
      case Epilogue::store:
        return linear_tile<Epilogue::store>(layer, input, output);
      case Epilogue::add:
        return linear_tile<Epilogue::add>(layer, input, output);
      case Epilogue::silu:
        return linear_tile<Epilogue::silu>(layer, input, output);
      case Epilogue::tanh:
        return linear_tile<Epilogue::tanh>(layer, input, output);
    }
  }

  static void normalize(const float* input, std::size_t count, const float* scale,
                        const float* shift, const float* addend, float* output) {
    const F share = S::broadcast(1.0F / static_cast<float>(count));
    for (std::size_t lane = 0; lane < tile_lanes; lane += strip) {
      F mean[vectors];
      F spread[vectors];
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v) mean[v] = spread[v] = S::broadcast(0.0F);
      for (std::size_t row = 0; row < count; ++row) {
#pragma GCC unroll 8
        for (std::size_t v = 0; v < vectors; ++v) {
          mean[v] = mean[v] + S::load(input + row * tile_lanes + lane + v * lanes);
        }
      }
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v) mean[v] = mean[v] * share;
      for (std::size_t row = 0; row < count; ++row) {
#pragma GCC unroll 8
        for (std::size_t v = 0; v < vectors; ++v) {
          const F off = S::load(input + row * tile_lanes + lane + v * lanes) - mean[v];
          spread[v] = S::fma(off, off, spread[v]);
        }
      }
#pragma GCC unroll 8
      for (std::size_t v = 0; v < vectors; ++v) {
        spread[v] = S::broadcast(1.0F) / S::sqrt(S::fma(spread[v], share, S::broadcast(1e-5F)));
      }
      for (std::size_t row = 0; row < count; ++row) {
        const F gain = S::broadcast(scale[row]);
        const F offset = S::broadcast(shift[row]);
#pragma GCC unroll 8
        for (std::size_t v = 0; v < vectors; ++v) {
          const std::size_t at = row * tile_lanes + lane + v * lanes;
          F value = S::fma((S::load(input + at) - mean[v]) * spread[v], gain, offset);
          if (addend != nullptr) value = value + S::load(addend + at);
          S::store(output + at, value);
        }
      }
    }
  }

  static bool ddim_update(float* x, const float* v, std::size_t count,
                          const DdimCoefficients& step) {
    const F signal = S::broadcast(step.signal);
    const F noise = S::broadcast(step.noise);
    const F inverse = S::broadcast(1.0F / step.noise);
    const F next_signal = S::broadcast(step.next_signal);
    const F next_noise = S::broadcast(step.next_noise);
    F poison = S::broadcast(0.0F);  // becomes NaN with the first value that is not finite
    for (std::size_t at = 0; at < count * tile_lanes; at += lanes) {
      const F old = S::load(x + at);
      const F velocity = S::load(v + at);
      poison = poison + (velocity - velocity);
      const F image = clamp(signal * old - noise * velocity, -1.0F, 1.0F);
      const F rest = (old - signal * image) * inverse;
      S::store(x + at, S::fma(next_signal, image, next_noise * rest));
    }
    float flags[lanes];
    S::store(flags, poison);
    bool finite = true;
    for (const float flag : flags) finite = finite && flag == 0.0F;
    return finite;
  }

  template <std::size_t columns>
  static void moments_block(const float* features, std::size_t tiles, std::size_t count,
                            std::size_t row, std::size_t column, double* out, std::size_t stride) {
    D sums[4][columns];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < 4; ++r) {
#pragma GCC unroll 8
      for (std::size_t c = 0; c < columns; ++c) sums[r][c] = S::zero_double();
    }
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const float* base = features + tile * count * tile_lanes;
      for (std::size_t lane = 0; lane < tile_lanes; lane += lanes / 2) {
        D right[columns];
#pragma GCC unroll 8
        for (std::size_t c = 0; c < columns; ++c) {
          right[c] = S::load_double(base + (column + c) * tile_lanes + lane);
        }
#pragma GCC unroll 8
        for (std::size_t r = 0; r < 4; ++r) {
          const D left = S::load_double(base + (row + r) * tile_lanes + lane);
#pragma GCC unroll 8
          for (std::size_t c = 0; c < columns; ++c) {
            sums[r][c] = S::fma(left, right[c], sums[r][c]);
          }
        }
      }
    }
    for (std::size_t r = 0; r < 4; ++r) {
      for (std::size_t c = 0; c < columns; ++c) {
        double total = 0;
        for (std::size_t lane = 0; lane < lanes / 2; ++lane) total += sums[r][c][lane];
        out[r * stride + column + c] = total;
      }
    }
  }

  static void second_moments(const float* features, std::size_t tiles, std::size_t count,
                             std::size_t row, double* out, std::size_t stride) {
    for (std::size_t column = row; column < count; column += S::moment_columns) {
      moments_block<S::moment_columns>(features, tiles, count, row, column, out, stride);
    }
  }

  static inline F load_source(const float* from) {
    return S::load(from);
  }
  static inline F load_source(const std::uint16_t* from) {
    return S::load_half(from);
  }

  template <std::size_t group, class T>
  static void merge_group(const T* block, std::size_t sources, std::size_t reference,
                          const float* coefficients, float* out, std::size_t stride) {
    for (std::size_t column = 0; column < merge_columns; column += 2 * lanes) {
      const T* strip_start =
          block + column / merge_strip * merge_strip * sources + column % merge_strip;
      const F base0 = load_source(strip_start + reference * merge_strip);
      const F base1 = load_source(strip_start + reference * merge_strip + lanes);
      F sums[group][2];
#pragma GCC unroll 8
      for (std::size_t p = 0; p < group; ++p) {
        sums[p][0] = base0;
        sums[p][1] = base1;
      }
      for (std::size_t k = 0; k < sources; ++k) {
        const F delta0 = load_source(strip_start + k * merge_strip) - base0;
        const F delta1 = load_source(strip_start + k * merge_strip + lanes) - base1;
#pragma GCC unroll 8
        for (std::size_t p = 0; p < group; ++p) {
          const F weight = S::broadcast(coefficients[p * sources + k]);
          sums[p][0] = S::fma(weight, delta0, sums[p][0]);
          sums[p][1] = S::fma(weight, delta1, sums[p][1]);
        }
      }
#pragma GCC unroll 8
      for (std::size_t p = 0; p < group; ++p) {
        S::store(out + p * stride + column, sums[p][0]);
        S::store(out + p * stride + column + lanes, sums[p][1]);
      }
    }
  }

  template <class T>
  static void merge(const T* block, std::size_t sources, std::size_t reference,
                    const float* coefficients, std::size_t candidates, float* out,
                    std::size_t stride) {
    std::size_t p = 0;
    for (; p + S::merge_group <= candidates; p += S::merge_group) {
      merge_group<S::merge_group>(block, sources, reference, coefficients + p * sources,
                                  out + p * stride, stride);
    }
    for (; p < candidates; ++p) {
      merge_group<1>(block, sources, reference, coefficients + p * sources, out + p * stride,
                     stride);
    }
  }

  static constexpr SimdKernels table(const char* name) {
    return {name,        linear, normalize, ddim_update, second_moments, merge<std::uint16_t>,
            merge<float>};
  }
};

}  // namespace
}  // namespace paretod
