#include "evaluators/merge/merge_outputs.hpp"

#include <cstring>
#include <utility>

namespace paretod {
namespace {

constexpr std::size_t alignment = 64;

std::size_t aligned(std::uint64_t bytes) {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// Whether any number is not finite, that is, has all exponent bits set.  Adding the lowest of them
/// to the exponent carries into the sign's place then, and only then: several numbers at a time.
template <class Word>
bool any_unusual(const std::byte* bytes, std::size_t size, Word exponent) {
  constexpr std::uint64_t ones = ~std::uint64_t{0} / static_cast<Word>(~Word{0});
  const std::uint64_t mask = ones * exponent;
  const std::uint64_t lowest = ones * static_cast<Word>(exponent & (~exponent + 1));
  std::uint64_t carried = 0;
  std::size_t at = 0;
  constexpr std::size_t together = 8;  // sums that do not wait for each other
  std::uint64_t sums[together] = {};
  for (; at + 8 * together <= size; at += 8 * together) {
    std::uint64_t several[together];
    std::memcpy(several, bytes + at, sizeof several);
    for (std::size_t i = 0; i < together; ++i) sums[i] |= (several[i] & mask) + lowest;
  }
  for (const std::uint64_t sum : sums) carried |= sum;
  for (; at < size; at += sizeof(Word)) {
    Word one;
    std::memcpy(&one, bytes + at, sizeof one);
    carried |= static_cast<std::uint64_t>(one & exponent) + (lowest & static_cast<Word>(~Word{0}));
  }
  constexpr std::uint64_t signs = ones << (8 * sizeof(Word) - 1);
  return (carried & signs) != 0;
}

/// Of `exponent` bits; with none in the fraction it is infinite, else NaN.
template <class Word>
void count_unusual(std::span<const std::byte> bytes, Word exponent, std::uint64_t& nans,
                   std::uint64_t& infinities) {
  if (!any_unusual(bytes.data(), bytes.size(), exponent)) return;
  constexpr auto fraction_and_exponent = static_cast<Word>(static_cast<Word>(~Word{0}) >> 1);
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(Word)) {
    Word word;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    if ((word & exponent) != exponent) continue;
    ++((word & fraction_and_exponent) == exponent ? infinities : nans);
  }
}

}  // namespace

std::uint64_t MemoryOutput::size_of_one(std::span<const TensorLayout> layouts) {
  std::uint64_t bytes = 0;
  for (const TensorLayout& layout : layouts) bytes += aligned(layout.bytes());
  return bytes;
}

MemoryOutput::MemoryOutput(std::vector<TensorLayout> layouts, std::size_t candidates) {
  std::size_t end = 0;
  for (const TensorLayout& layout : layouts) {
    offsets_.push_back(end);
    end += aligned(layout.bytes());
  }
  for (std::size_t p = 0; p < candidates; ++p) {
    const std::byte* buffer = buffers_.emplace_back(end).data();
    auto& views = views_.emplace_back();
    for (std::size_t t = 0; t < layouts.size(); ++t) {
      views.push_back({layouts[t].name,
                       layouts[t].dtype,
                       layouts[t].shape,
                       {buffer + offsets_[t], layouts[t].bytes()}});
    }
  }
}

Result<void> MemoryOutput::write(std::size_t, std::size_t, std::uint64_t,
                                 std::span<const std::byte>) {
  return Error{ErrorKind::internal, "a merge into memory wrote"};
}

FiniteCheck::FiniteCheck(MergeOutput& to, std::span<const TensorLayout> layouts)
    : to_(to), layouts_(layouts), nans_(layouts.size()), infinities_(layouts.size()) {}

Result<void> FiniteCheck::write(std::size_t candidate, std::size_t tensor, std::uint64_t offset,
                                std::span<const std::byte> bytes) {
  std::uint64_t nans = 0, infinities = 0;
  switch (layouts_[tensor].dtype) {
    case DType::f32:
      count_unusual<std::uint32_t>(bytes, 0x7F800000U, nans, infinities);
      break;
    case DType::f16:
      count_unusual<std::uint16_t>(bytes, 0x7C00U, nans, infinities);
      break;
    case DType::bf16:
      count_unusual<std::uint16_t>(bytes, 0x7F80U, nans, infinities);
      break;
    default:
      break;
  }
  nans_[tensor] += nans;
  infinities_[tensor] += infinities;
  return to_.write(candidate, tensor, offset, bytes);
}

std::string FiniteCheck::warning() const {
  constexpr std::size_t most_named = 3;
  std::uint64_t nans = 0, infinities = 0;
  std::size_t tensors = 0;
  bool half = false;
  std::string named;
  for (std::size_t t = 0; t < layouts_.size(); ++t) {
    const std::uint64_t count = nans_[t] + infinities_[t];
    if (count == 0) continue;
    nans += nans_[t];
    infinities += infinities_[t];
    half = half || (infinities_[t] > 0 && layouts_[t].dtype == DType::f16);
    if (tensors++ >= most_named) continue;
    named += (named.empty() ? "" : ", ") + ("\"" + layouts_[t].name + "\" (") +
             std::to_string(count) + " of " + std::to_string(layouts_[t].elements()) + ")";
  }
  if (tensors == 0) return "";
  const std::uint64_t all = nans + infinities;
  std::string text = std::to_string(all) + (all == 1 ? " number" : " numbers") +
                     " of the merged model " + (all == 1 ? "is" : "are") + " not finite (" +
                     std::to_string(nans) + " NaN, " + std::to_string(infinities) +
                     " infinite), in " + std::to_string(tensors) +
                     (tensors == 1 ? " tensor: " : " tensors: ") + named;
  if (tensors > most_named) text += ", ...";
  text += nans > 0 ? "; look for them in the sources" : "";
  if (half) text += "; float16 ends at 65504: take dtype bfloat16 or float32, or smaller weights";
  return text;
}

}  // namespace paretod
