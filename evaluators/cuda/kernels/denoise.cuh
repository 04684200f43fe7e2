#pragma once
// The residual denoiser of evaluators/diffusion/denoiser.hpp, its solvers and its features, for a
// batch of candidates that each have weights, steps and dropped blocks of their own.  blockIdx.z
// (or y) is the candidate; rows are samples.
//
// Sums are float32 with fused multiply-adds, as on the processor, in another order: results agree
// to rounding.  No sum depends on how work is dealt out, so runs repeat bit for bit.
//
// Work: 278,528 operations per sample and step for the digits' 64 x 8 network; 2,000 samples at 5
// steps are 2.8 GFLOP, 42 us at the 67 TFLOP/s of an H100 with ordinary units and 0.1 ms at the 40
// % that a 64 x 64 tile with 4 x 4 sums per thread is expected to reach.  Tensor cores would give
// results of 11 bits or need three products for each, and sampling is no longer what takes longest
// then: the two eigenproblems on the processor are some 3 ms.
// Bytes: activations of 16 candidates (2,000 x 128 floats: 16 MB) stay in the L2 of 50 MB.

#include "evaluators/cuda/diffusion_tables.hpp"
#include "evaluators/cuda/kernels/language.cuh"

namespace paretod::cuda {

inline constexpr unsigned denoise_threads = 256;

__device__ __forceinline__ bool skipped(const Skip& skip, std::size_t candidate) {
  return skip.flags != nullptr && skip.flags[candidate * skip.stride + skip.offset] != 0;
}

__device__ __forceinline__ float silu(float z) {
  return z / (1 + expf(-z));
}

/// Samples and outputs of a block's tile; a thread has 4 x 4 of them.
inline constexpr unsigned linear_tile = 64;
inline constexpr unsigned linear_depth = 16;

template <Apply apply>
__global__ void __launch_bounds__(denoise_threads) linear(const LinearTable table) {
  // Transposed, four floats of padding: rows stay aligned for 16-byte reads.
  __shared__ float left[linear_depth][linear_tile + 4];
  __shared__ float right[linear_depth][linear_tile + 4];
  const std::size_t candidate = blockIdx.z;
  if (skipped(table.skip, candidate)) return;
  const std::uint32_t rows = table.samples[candidate];
  const std::uint32_t first_row = blockIdx.x * linear_tile;
  if (first_row >= rows) return;
  const std::uint32_t first_output = blockIdx.y * linear_tile;
  const float* input = table.input.data + candidate * table.input.stride;
  const float* weights = table.weights + candidate * table.weight_stride;
  const float* bias = table.bias + candidate * table.weight_stride;

  const unsigned output_of = threadIdx.x % 16 * 4;
  const unsigned row_of = threadIdx.x / 16 * 4;
  float sums[4][4];
#pragma unroll
  for (unsigned o = 0; o < 4; ++o) {
    const std::uint32_t output = first_output + output_of + o;
    const float start = output < table.outputs ? bias[output] : 0.0F;
#pragma unroll
    for (unsigned r = 0; r < 4; ++r) sums[r][o] = start;
  }
  // Each thread fetches four numbers of a row of each matrix.
  const unsigned fetched = threadIdx.x / 4;
  const unsigned part = threadIdx.x % 4 * 4;
  const std::uint32_t input_row = first_row + fetched;
  const std::uint32_t weight_row = first_output + fetched;
  for (std::uint32_t depth = 0; depth < table.inputs; depth += linear_depth) {
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      const std::uint32_t k = depth + part + i;
      const bool inside = k < table.inputs;
      left[part + i][fetched] =
          inside && input_row < rows ? input[std::size_t{input_row} * table.input.row + k] : 0.0F;
      right[part + i][fetched] = inside && weight_row < table.outputs
                                     ? weights[std::size_t{weight_row} * table.inputs + k]
                                     : 0.0F;
    }
    __syncthreads();
#pragma unroll
    for (unsigned k = 0; k < linear_depth; ++k) {
      float a[4];
      float b[4];
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        a[i] = left[k][row_of + i];
        b[i] = right[k][output_of + i];
      }
#pragma unroll
      for (unsigned r = 0; r < 4; ++r) {
#pragma unroll
        for (unsigned o = 0; o < 4; ++o) sums[r][o] = fmaf(a[r], b[o], sums[r][o]);
      }
    }
    __syncthreads();
  }
  float* output = table.output.data + candidate * table.output.stride;
#pragma unroll
  for (unsigned r = 0; r < 4; ++r) {
    const std::uint32_t row = first_row + row_of + r;
    if (row >= rows) continue;
#pragma unroll
    for (unsigned o = 0; o < 4; ++o) {
      const std::uint32_t column = first_output + output_of + o;
      if (column >= table.outputs) continue;
      float* to = output + std::size_t{row} * table.output.row + column;
      const float sum = sums[r][o];
      if constexpr (apply == Apply::store) *to = sum;
      if constexpr (apply == Apply::add) *to = *to + sum;
      if constexpr (apply == Apply::silu) *to = silu(sum);
      if constexpr (apply == Apply::tanh) *to = tanhf(sum);
    }
  }
}

__device__ __forceinline__ float sum_warp(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xFFFFFFFF, value, distance);
  }
  return value;
}

__device__ __forceinline__ std::uint32_t label_of(std::uint32_t sample, std::uint32_t labels,
                                                  std::uint32_t null_class) {
  const std::uint32_t dealt = sample % labels;
  return dealt + (dealt >= null_class ? 1 : 0);
}

/// A warp per row.
__global__ void __launch_bounds__(denoise_threads) normalize(const NormalizeTable table) {
  const std::size_t candidate = blockIdx.y;
  if (skipped(table.skip, candidate)) return;
  const std::uint32_t row = blockIdx.x * (denoise_threads / 32) + threadIdx.x / 32;
  if (row >= table.samples[candidate]) return;  // the whole warp
  const unsigned lane = threadIdx.x % 32;
  const float* input =
      table.input.data + candidate * table.input.stride + std::size_t{row} * table.input.row;
  float* output =
      table.output.data + candidate * table.output.stride + std::size_t{row} * table.output.row;
  const float* scale = table.scale + candidate * table.weight_stride;
  const float* shift = table.shift + candidate * table.weight_stride;
  const float share = 1.0F / static_cast<float>(table.width);
  float sum = 0;
  for (std::uint32_t i = lane; i < table.width; i += 32) sum += input[i];
  const float mean = sum_warp(sum) * share;
  float squares = 0;
  for (std::uint32_t i = lane; i < table.width; i += 32) {
    const float off = input[i] - mean;
    squares = fmaf(off, off, squares);
  }
  const float inverse = 1.0F / sqrtf(fmaf(sum_warp(squares), share, 1e-5F));
  const float* condition = nullptr;
  if (table.conditions != nullptr) {
    condition = table.conditions + candidate * table.condition_stride +
                std::size_t{label_of(row, table.labels, table.null_class)} * table.width;
  }
  for (std::uint32_t i = lane; i < table.width; i += 32) {
    float value = fmaf((input[i] - mean) * inverse, scale[i], shift[i]);
    if (condition != nullptr) value += condition[i];
    output[i] = value;
  }
}

/// c of every class at one step (x) of one candidate (y); in double, as on the processor.
__global__ void __launch_bounds__(denoise_threads) conditions(const ConditionTable table) {
  const std::size_t candidate = blockIdx.y;
  const std::size_t which = candidate * table.step_stride + blockIdx.x;
  const StepTable& step = table.steps[which];
  if (step.active == 0) return;
  const std::uint32_t width = table.width;
  const std::uint32_t half = width / 2;
  auto* embedding = reinterpret_cast<double*>(dynamic_shared());
  double* hidden = embedding + width;
  const float* first = table.weights + candidate * table.weight_stride;
  const float* first_bias = first + std::size_t{width} * width;
  const float* second = first_bias + width;
  const float* second_bias = second + std::size_t{width} * width;
  const float* classes = second_bias + width;
  for (std::uint32_t i = threadIdx.x; i < half; i += denoise_threads) {
    embedding[i] = sin(step.time * table.frequencies[i]);
    embedding[half + i] = cos(step.time * table.frequencies[i]);
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < width; i += denoise_threads) {
    double sum = static_cast<double>(first_bias[i]);
    for (std::uint32_t j = 0; j < width; ++j) {
      sum += static_cast<double>(first[std::size_t{i} * width + j]) * embedding[j];
    }
    hidden[i] = sum / (1 + exp(-sum));
  }
  __syncthreads();
  float* out = table.conditions + which * table.classes * width;
  for (std::uint32_t i = threadIdx.x; i < width; i += denoise_threads) {
    double sum = static_cast<double>(second_bias[i]);
    for (std::uint32_t j = 0; j < width; ++j) {
      sum += static_cast<double>(second[std::size_t{i} * width + j]) * hidden[j];
    }
    for (std::uint32_t label = 0; label < table.classes; ++label) {
      const std::size_t at = std::size_t{label} * width + i;
      out[at] = static_cast<float>(sum + static_cast<double>(classes[at]));
    }
  }
}

/// Noise, which lies in tiles [pixel][48 samples], to rows.
__global__ void __launch_bounds__(denoise_threads) start(const StartTable table) {
  constexpr std::uint32_t lanes = 48;
  const std::size_t candidate = blockIdx.y;
  const std::uint64_t at = std::uint64_t{blockIdx.x} * denoise_threads + threadIdx.x;
  const std::uint64_t sample = at / table.pixels;
  const std::uint32_t pixel = static_cast<std::uint32_t>(at % table.pixels);
  if (sample >= table.samples[candidate]) return;
  const float* tile = table.noise[candidate] + sample / lanes * table.pixels * lanes;
  table.images.data[candidate * table.images.stride + sample * table.images.row + pixel] =
      tile[pixel * lanes + sample % lanes];
}

__device__ __forceinline__ float clip(float x) {
  return fmaxf(-1.0F, fminf(1.0F, x));
}

/// One solver step of every pixel.
__global__ void __launch_bounds__(denoise_threads) advance(const AdvanceTable table) {
  const std::size_t candidate = blockIdx.y;
  const StepTable& step = table.steps[candidate * table.step_stride + table.step];
  if (step.active == 0) return;
  const std::uint64_t at = std::uint64_t{blockIdx.x} * denoise_threads + threadIdx.x;
  if (at >= std::uint64_t{table.samples[candidate]} * table.pixels) return;
  const std::uint64_t sample = at / table.pixels;
  const std::uint64_t pixel = at % table.pixels;
  float& x = table.images.data[candidate * table.images.stride + sample * table.images.row + pixel];
  const float old = x;
  const float v =
      table.velocity.data[candidate * table.velocity.stride + sample * table.velocity.row + pixel];
  if (!(v - v == 0)) atomicOr(&table.overflowed[candidate], 1U);
  const float image = clip(step.signal * old - step.noise * v);
  const float noise = (old - step.signal * image) / step.noise;
  const std::size_t history = candidate * solver_history;
  if (table.predicted_images != nullptr && (step.kept != 0 || step.order > 1)) {
    const std::size_t slot = (history + table.step % solver_history) * table.history_stride + at;
    table.predicted_images[slot] = image;
    table.predicted_noises[slot] = noise;
  }
  if (step.order <= 1) {
    x = fmaf(step.next_signal, image, step.next_noise * noise);
    return;
  }
  const float* predictions =
      step.combines_noise != 0 ? table.predicted_noises : table.predicted_images;
  float combined = 0;
  for (std::uint32_t back = 0; back < step.order; ++back) {
    const std::size_t slot =
        (history + (table.step - back) % solver_history) * table.history_stride + at;
    // What this thread has just written, or wrote in an earlier launch.
    combined += step.weights[back] * predictions[slot];
  }
  if (step.combines_noise != 0) {
    const float moved = clip((old - step.noise * combined) / step.signal);
    x = step.next_signal * moved + step.next_noise * combined;
  } else {
    const float stay = step.next_noise / step.noise;
    const float towards = step.next_signal - stay * step.signal;
    x = stay * old + towards * combined;
  }
}

__global__ void __launch_bounds__(denoise_threads) complete_features(const PixelTable table) {
  const std::size_t candidate = blockIdx.y;
  const std::uint32_t columns = table.pixels + 1;
  const std::uint64_t at = std::uint64_t{blockIdx.x} * denoise_threads + threadIdx.x;
  const std::uint64_t sample = at / columns;
  const std::uint32_t column = static_cast<std::uint32_t>(at % columns);
  if (sample >= table.samples[candidate]) return;
  float value = 1;
  if (column < table.pixels) {
    value = table.weight *
            table.images.data[candidate * table.images.stride + sample * table.images.row + column];
  }
  table.features.data[candidate * table.features.stride + sample * table.features.row +
                      table.first + column] = value;
}

inline constexpr unsigned moment_tile = 32;

/// Sums of products of two columns over a chunk of rows, in double: 32 x 32 of them per block.
/// blockIdx.x counts tiles row by row, y chunks.
__global__ void __launch_bounds__(denoise_threads) sum_products(const MomentTable table) {
  __shared__ float left[moment_tile][moment_tile + 1];
  __shared__ float right[moment_tile][moment_tile + 1];
  const std::size_t candidate = blockIdx.z;
  const std::uint32_t tiles = (table.columns + moment_tile - 1) / moment_tile;
  const std::uint32_t first_left = blockIdx.x / tiles * moment_tile;
  const std::uint32_t first_right = blockIdx.x % tiles * moment_tile;
  if (first_right < first_left) return;  // below the diagonal
  const std::uint32_t samples = table.samples[candidate];
  const std::uint64_t begin = std::uint64_t{blockIdx.y} * table.chunk;
  const std::uint64_t end = begin + table.chunk < samples ? begin + table.chunk : samples;
  const float* features = table.features.data + candidate * table.features.stride;
  const unsigned x = threadIdx.x % 16 * 2;
  const unsigned y = threadIdx.x / 16 * 2;
  double sums[2][2] = {};
  for (std::uint64_t first = begin; first < end; first += moment_tile) {
    for (unsigned i = threadIdx.x; i < moment_tile * moment_tile; i += denoise_threads) {
      const unsigned row = i / moment_tile;
      const unsigned column = i % moment_tile;
      const bool inside = first + row < end;
      const float* from = features + (first + row) * table.features.row;
      left[row][column] =
          inside && first_left + column < table.columns ? from[first_left + column] : 0.0F;
      right[row][column] =
          inside && first_right + column < table.columns ? from[first_right + column] : 0.0F;
    }
    __syncthreads();
    for (unsigned row = 0; row < moment_tile; ++row) {
#pragma unroll
      for (unsigned i = 0; i < 2; ++i) {
#pragma unroll
        for (unsigned j = 0; j < 2; ++j) {
          sums[i][j] = fma(static_cast<double>(left[row][y + i]),
                           static_cast<double>(right[row][x + j]), sums[i][j]);
        }
      }
    }
    __syncthreads();
  }
  double* out = table.partial + (candidate * table.chunks + blockIdx.y) * table.columns *
                                    std::size_t{table.columns};
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) {
#pragma unroll
    for (unsigned j = 0; j < 2; ++j) {
      const std::uint32_t row = first_left + y + i;
      const std::uint32_t column = first_right + x + j;
      if (row < table.columns && column < table.columns) {
        out[std::size_t{row} * table.columns + column] = sums[i][j];
      }
    }
  }
}

/// Adds up the chunks, in order.
__global__ void __launch_bounds__(denoise_threads) add_products(const MomentTable table) {
  const std::size_t candidate = blockIdx.y;
  const std::size_t size = std::size_t{table.columns} * table.columns;
  const std::size_t at = std::size_t{blockIdx.x} * denoise_threads + threadIdx.x;
  if (at >= size || at % table.columns < at / table.columns) return;
  const double* partial = table.partial + candidate * table.chunks * size;
  double sum = 0;
  for (std::uint32_t chunk = 0; chunk < table.chunks; ++chunk) sum += partial[chunk * size + at];
  table.products[candidate * size + at] = sum;
}

/// A warp per sample; its centred features lie in shared memory.
__global__ void __launch_bounds__(denoise_threads) influences(const InfluenceTable table) {
  const std::size_t candidate = blockIdx.y;
  const std::uint32_t sample = blockIdx.x * (denoise_threads / 32) + threadIdx.x / 32;
  if (sample >= table.samples[candidate]) return;  // the whole warp
  const unsigned lane = threadIdx.x % 32;
  const std::uint32_t d = table.dimension;
  float* centred = reinterpret_cast<float*>(dynamic_shared()) + threadIdx.x / 32 * d;
  const float* features = table.features.data + candidate * table.features.stride +
                          std::size_t{sample} * table.features.row;
  for (std::uint32_t i = lane; i < d; i += 32) {
    centred[i] = features[i] - table.mean[candidate * d + i];
  }
  __syncwarp();
  const float* curvature = table.curvature + candidate * d * d;
  float sum = 0;
  for (std::uint32_t i = lane; i < d; i += 32) {
    float change = table.gradient[candidate * d + i];
    for (std::uint32_t j = 0; j < d; ++j) {
      change = fmaf(curvature[std::size_t{j} * d + i], centred[j], change);
    }
    sum = fmaf(centred[i], change, sum);
  }
  sum = sum_warp(sum);
  if (lane == 0) table.influence[candidate * table.influence_stride + sample] = sum;
}

}  // namespace paretod::cuda
