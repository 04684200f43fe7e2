#pragma once
// What the host tells the merge kernels: tables in device memory and the arguments of launches.
// Plain data, for host and device code.

#include <cstddef>
#include <cstdint>

namespace paretod::cuda {

/// How numbers are stored.
enum class Stored : std::uint8_t { f32 = 0, f16 = 1, bf16 = 2 };

constexpr std::size_t size_of(Stored stored) {
  return stored == Stored::f32 ? 4 : 2;
}

inline constexpr unsigned block_threads = 256;
/// Elements of a tile, the unit of work of a block: four per thread, one 16-byte access at float32.
inline constexpr unsigned tile_elements = 4 * block_threads;

/// One tensor of a pass; plain, so that it can lie in shared memory.
struct CombineTensor {
  std::uint64_t elements;
  std::uint64_t first_tile;     ///< of all tensors' tiles
  std::uint64_t first_element;  ///< of a part: its place in the whole tensor
  const void* base;             ///< null: none
  std::uint32_t first_row;      ///< of CombineBatch::rows: one per source
  std::uint32_t first_out;      ///< of CombineBatch::outputs: one per candidate
  std::uint32_t group;
  Stored base_type;
  Stored output_type;
  bool aligned;  ///< all pointers to four numbers
};

struct CombineBatch {
  const CombineTensor* tensors;  ///< ends with one of no elements at `tiles`
  std::uint32_t tensor_count;
  std::uint64_t tiles;
  const void* const* rows;
  void* const* outputs;
  const float* weights;  ///< [group][source][stride]
  const float* factors;  ///< [group][stride]
  std::uint32_t stride;  ///< candidates, padded to what a kernel reads: with zeros
  std::uint32_t sources;
  std::uint32_t chunk;  ///< sources whose weights are in shared memory at a time
  std::uint32_t first_candidate;
  std::uint32_t candidates;  ///< of this pass
  bool subtract;             ///< the base, from each source
};

/// For combine_fisher: rows of importances follow the tensor's rows of sources.
struct FisherBatch {
  CombineBatch combine;
  const Stored* importance_types;  ///< per tensor
  std::uint32_t first_tensor;      ///< number of combine.tensors[0]
  std::uint32_t* wrong;            ///< per tensor: set where an importance is negative or NaN
};

/// Candidates of one pass of a fisher merge.
inline constexpr unsigned fisher_width = 4;

/// Elements of magnitude bits above `bits`, and the first of those of equal bits: below `cut`.
struct Threshold {
  std::uint64_t cut;
  std::int32_t bits;
  std::uint32_t unused;
};

enum class SparseKind : std::uint8_t { none, all, between, random };

/// What a candidate keeps of one source in one tensor.
struct SparseRow {
  std::uint64_t key = 0;      ///< random
  std::uint32_t below = 0;    ///< random: numbers below it are kept
  std::int32_t kept = -1;     ///< between: index of a threshold; negative: all
  std::int32_t dropped = -1;  ///< between: of these, index; negative: none
  float scale = 0;            ///< of what is kept, weight included
  float weight = 0;           ///< in the divisor of an election
  SparseKind kind = SparseKind::none;
};

struct SparseBatch {
  CombineBatch combine;
  const SparseRow* sparse;  ///< [tensor][source][stride]
  const Threshold* thresholds;
  std::uint32_t first_tensor;  ///< of `sparse`: number of combine.tensors[0]
  bool elect;
  bool divide;
};

/// A SparseRow with its thresholds, in shared memory.
struct ResolvedRow {
  std::uint64_t cut;  ///< or the key
  std::uint64_t dropped_cut;
  std::int32_t bits;
  std::int32_t dropped_bits;
  std::uint32_t below;
  float scale;
  float weight;
  SparseKind kind;
};

/// Candidates of one pass of a sparse merge.
inline constexpr unsigned sparse_width = 4;

/// Elements that one block of a selection looks at.
inline constexpr std::uint32_t part_elements = 16'384;
inline constexpr unsigned digit_buckets = 2'048;
inline constexpr unsigned group_questions = 4;

/// One source's differences in one tensor.
struct SelectRow {
  const void* source;
  const void* base;  ///< null: nothing to subtract
  std::uint64_t elements;
  Stored source_type;
  Stored base_type;
  bool aligned;
};

struct SelectQuestion {
  std::uint64_t wanted;  ///< from above, among the elements with this prefix
  std::uint64_t found;   ///< after the last stage: elements of exactly the threshold
  std::uint32_t prefix;  ///< the digits that are known
  std::uint32_t row;
  std::uint32_t threshold;  ///< where the answer goes
  std::uint32_t first;      ///< question about the row, whose histogram all share in stage 0
};

/// Up to group_questions consecutive questions about one row, and the blocks that work on them.
struct SelectGroup {
  std::uint64_t first_block;
  std::uint32_t row;
  std::uint32_t first_question;
  std::uint32_t questions;
  std::uint32_t parts;  ///< blocks
};

struct SelectBatch {
  const SelectRow* rows;
  SelectQuestion* questions;
  const SelectGroup* groups;  ///< one more at the end, behind the last block
  std::uint32_t group_count;
  std::uint32_t question_count;
  std::uint32_t* histograms;       ///< [question][digit_buckets]
  std::uint32_t* ties;             ///< [block][group_questions]
  const std::uint64_t* first_tie;  ///< per question: the first block of its group
  const std::uint32_t* tie_slot;   ///< per question: its place in the group
  Threshold* thresholds;
  bool keep_ties;
};

/// Rows [tensor][2], in parts as in a selection.
struct ProductBatch {
  const SelectRow* rows;
  const std::uint64_t* first_block;  ///< per row, both rows of a tensor counted
  std::uint32_t tensors;
  double* sums;  ///< [block][3]: first with itself, second with itself, first with second
};

/// Rows [tensor][source], in parts as in a selection.
struct NormBatch {
  const SelectRow* rows;
  const std::uint64_t* first_block;  ///< per row, and one behind the last
  std::uint32_t row_count;
  SparseRow* sparse;  ///< [row][stride]; scales are changed
  const Threshold* thresholds;
  double* sums;  ///< [block][1 + sparse_width]: before, and after for each candidate
  std::uint32_t stride;
  std::uint32_t first_candidate;
  std::uint32_t candidates;  ///< sparse_width at most
};

}  // namespace paretod::cuda
