#pragma once
// Exact thresholds: for each question (one source of one tensor, a count) the magnitude of the
// count-th largest element of x - b, and, where not all elements of that magnitude are wanted, the
// place behind the last wanted one; of equal magnitudes the first in the tensor are kept
// (evaluators/merge/largest_elements.hpp), or all of them, as Evo-Merging does.
//
// Radix select on the 31 bits of the magnitude, 11, 11 and 9 at a time: a histogram of one digit
// of all elements that share the digits above, then a walk down it.  The first histogram is shared
// by all questions about a row.  Then elements of exactly the threshold are counted per part of
// the row, and the part that holds the last wanted one is searched.
//
// Three passes over a row, four where ties have to be counted: 3 K N s bytes for a model, whatever
// the number of candidates up to 4 (a block answers 4 questions of a row at once, whose histograms
// are the 32 KB that it has in shared memory; further ones find the row in L2).

#include "evaluators/cuda/kernels/sparse_combine.cuh"

namespace paretod::cuda {

struct Digit {
  unsigned shift;
  unsigned bits;
};
/// From the top; of stage 0, 1, 2.
__host__ __device__ constexpr Digit digit_of(unsigned stage) {
  return stage == 0 ? Digit{20, 11} : stage == 1 ? Digit{9, 11} : Digit{0, 9};
}

__device__ __forceinline__ Four differences(const SelectRow& row, std::uint64_t column,
                                            unsigned count) {
  Four x = load(row.source_type, row.source, column, count, row.aligned);
  if (row.base != nullptr) {
    const Four base = load(row.base_type, row.base, column, count, row.aligned);
    for (unsigned i = 0; i < 4; ++i) x.at[i] -= base.at[i];
  }
  return x;
}

__device__ __forceinline__ std::uint32_t group_of_block(const SelectBatch& batch) {
  return last_not_above(blockIdx.x, batch.group_count,
                        [&](std::uint32_t i) { return batch.groups[i].first_block; });
}

/// body(magnitude bits, index) for this thread's elements of the block's part of the row.
template <class Body>
__device__ __forceinline__ void each_magnitude(const SelectRow& row, std::uint64_t part,
                                               Body body) {
  for (std::uint32_t done = threadIdx.x * 4; done < part_elements; done += tile_elements) {
    const std::uint64_t column = part * part_elements + done;
    const unsigned count = elements_at(column, row.elements);
    if (count == 0) return;
    const Four d = differences(row, column, count);
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      if (i < count) body(magnitude_bits(d.at[i]), column + i);
    }
  }
}

__global__ void __launch_bounds__(block_threads)
    select_histogram(const SelectBatch batch, const unsigned stage) {
  __shared__ std::uint32_t counts[group_questions * digit_buckets];
  __shared__ std::uint32_t prefixes[group_questions];
  const SelectGroup group = batch.groups[group_of_block(batch)];
  const Digit digit = digit_of(stage);
  const std::uint32_t mask = (1U << digit.bits) - 1;
  for (std::uint32_t i = threadIdx.x; i < group.questions * digit_buckets; i += block_threads) {
    counts[i] = 0;
  }
  if (threadIdx.x < group.questions) {
    prefixes[threadIdx.x] = batch.questions[group.first_question + threadIdx.x].prefix;
  }
  __syncthreads();
  const SelectRow row = batch.rows[group.row];
  each_magnitude(row, blockIdx.x - group.first_block, [&](std::uint32_t bits, std::uint64_t) {
    const std::uint32_t above = bits >> (digit.shift + digit.bits);
    const std::uint32_t bucket = bits >> digit.shift & mask;
    for (unsigned j = 0; j < group.questions; ++j) {
      if (above == prefixes[j]) atomicAdd(&counts[j * digit_buckets + bucket], 1U);
    }
  });
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < group.questions * digit_buckets; i += block_threads) {
    if (counts[i] == 0) continue;
    const std::size_t first = std::size_t{group.first_question} * digit_buckets;
    atomicAdd(&batch.histograms[first + i], counts[i]);
  }
}

/// Sums over the threads before this one, and over all; `scratch` is of block_threads.
struct BlockScan {
  std::uint64_t before;
  std::uint64_t all;
};
__device__ __forceinline__ BlockScan scan_block(std::uint64_t value, std::uint64_t* scratch) {
  std::uint64_t sum = value;
  for (unsigned distance = 1; distance < block_threads; distance *= 2) {
    scratch[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= distance) sum += scratch[threadIdx.x - distance];
    __syncthreads();
  }
  scratch[threadIdx.x] = sum;
  __syncthreads();
  const std::uint64_t all = scratch[block_threads - 1];
  __syncthreads();
  return {sum - value, all};
}

/// Walks down one question's histogram: a block each.
__global__ void __launch_bounds__(block_threads)
    select_digit(const SelectBatch batch, const unsigned stage) {
  __shared__ std::uint64_t scratch[block_threads];
  SelectQuestion& question = batch.questions[blockIdx.x];
  const std::uint32_t* counts =
      batch.histograms + std::size_t{stage == 0 ? question.first : blockIdx.x} * digit_buckets;
  const std::uint64_t wanted = question.wanted;
  const std::uint32_t prefix = question.prefix;
  const Digit digit = digit_of(stage);
  constexpr unsigned share = digit_buckets / block_threads;
  // Thread 0 has the largest buckets.
  const unsigned top = digit_buckets - 1 - threadIdx.x * share;
  std::uint64_t mine = 0;
  for (unsigned i = 0; i < share; ++i) mine += counts[top - i];
  std::uint64_t above = scan_block(mine, scratch).before;
  if (above < wanted && wanted <= above + mine) {
    for (unsigned i = 0; i < share; ++i) {
      const std::uint64_t here = counts[top - i];
      if (wanted <= above + here) {
        question.wanted = wanted - above;
        question.found = here;
        question.prefix = prefix << digit.bits | (top - i);
        break;
      }
      above += here;
    }
  }
}

/// Elements of exactly the threshold, per part, for questions that want only some of them.
__global__ void __launch_bounds__(block_threads) select_ties(const SelectBatch batch) {
  __shared__ std::uint32_t counts[group_questions];
  __shared__ std::uint32_t prefixes[group_questions];
  __shared__ unsigned open;
  const SelectGroup group = batch.groups[group_of_block(batch)];
  if (threadIdx.x == 0) open = 0;
  __syncthreads();
  if (threadIdx.x < group.questions) {
    const SelectQuestion& question = batch.questions[group.first_question + threadIdx.x];
    counts[threadIdx.x] = 0;
    prefixes[threadIdx.x] = question.prefix;
    if (question.wanted < question.found) atomicOr(&open, 1U << threadIdx.x);
  }
  __syncthreads();
  if (open == 0) return;
  const SelectRow row = batch.rows[group.row];
  each_magnitude(row, blockIdx.x - group.first_block, [&](std::uint32_t bits, std::uint64_t) {
    for (unsigned j = 0; j < group.questions; ++j) {
      if (bits == prefixes[j]) atomicAdd(&counts[j], 1U);
    }
  });
  __syncthreads();
  if (threadIdx.x < group.questions) {
    batch.ties[std::size_t{blockIdx.x} * group_questions + threadIdx.x] = counts[threadIdx.x];
  }
}

/// Writes the thresholds: a block for each question.
__global__ void __launch_bounds__(block_threads) select_finish(const SelectBatch batch) {
  __shared__ std::uint64_t scratch[block_threads];
  __shared__ std::uint64_t place[2];  // the part, and how many are wanted in it
  const SelectQuestion question = batch.questions[blockIdx.x];
  const SelectRow row = batch.rows[question.row];
  Threshold& threshold = batch.thresholds[question.threshold];
  if (batch.keep_ties || question.wanted == question.found) {
    if (threadIdx.x == 0) {
      threshold = {row.elements, static_cast<std::int32_t>(question.prefix), 0};
    }
    return;
  }
  // The part with the last wanted one.
  const std::uint64_t parts = (row.elements + part_elements - 1) / part_elements;
  const std::uint32_t* ties = batch.ties +
                              std::size_t{batch.first_tie[blockIdx.x]} * group_questions +
                              batch.tie_slot[blockIdx.x];
  std::uint64_t before = 0;
  for (std::uint64_t first = 0; first < parts; first += block_threads) {
    const std::uint64_t part = first + threadIdx.x;
    const std::uint64_t mine = part < parts ? ties[part * group_questions] : 0;
    const BlockScan scan = scan_block(mine, scratch);
    const std::uint64_t start = before + scan.before;
    if (start < question.wanted && question.wanted <= start + mine) {
      place[0] = part;
      place[1] = question.wanted - start;
    }
    before += scan.all;
    if (before >= question.wanted) break;  // the same for all threads
  }
  __syncthreads();
  // Its place in the part, of which each thread has a run.
  constexpr unsigned run = part_elements / block_threads;
  const std::uint64_t start = place[0] * part_elements + threadIdx.x * run;
  const std::uint64_t wanted = place[1];
  std::uint64_t mine = 0;
  for (unsigned i = 0; i < run; i += 4) {
    const unsigned count = elements_at(start + i, row.elements);
    const Four d = differences(row, start + i, count);
    for (unsigned e = 0; e < 4; ++e) {
      mine += e < count && magnitude_bits(d.at[e]) == question.prefix ? 1 : 0;
    }
  }
  std::uint64_t seen = scan_block(mine, scratch).before;
  if (!(seen < wanted && wanted <= seen + mine)) return;
  for (unsigned i = 0; i < run; i += 4) {
    const unsigned count = elements_at(start + i, row.elements);
    const Four d = differences(row, start + i, count);
    for (unsigned e = 0; e < 4; ++e) {
      if (e >= count || magnitude_bits(d.at[e]) != question.prefix) continue;
      if (++seen == wanted) {
        threshold = {start + i + e + 1, static_cast<std::int32_t>(question.prefix), 0};
      }
    }
  }
}

}  // namespace paretod::cuda
