#include "evaluators/merge/merge_outputs.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace paretod {
namespace {

constexpr std::size_t alignment = 64;

std::size_t aligned(std::uint64_t bytes) {
  return (bytes + alignment - 1) / alignment * alignment;
}

/// All exponent bits set: not finite; then NaN if any bit of the fraction is.
template <class Word>
void count_unusual(std::span<const std::byte> bytes, Word exponent, std::uint64_t& nans,
                   std::uint64_t& infinities) {
  constexpr std::size_t together = 1'024;  // few branches, and a sum that fits Word
  constexpr auto sign = static_cast<Word>(Word{1} << (8 * sizeof(Word) - 1));
  for (std::size_t at = 0; at < bytes.size(); at += together * sizeof(Word)) {
    Word words[together];
    const std::size_t count = std::min(together, (bytes.size() - at) / sizeof(Word));
    std::memcpy(words, bytes.data() + at, count * sizeof(Word));
    Word unusual = 0;
    for (std::size_t i = 0; i < count; ++i) {
      unusual = static_cast<Word>(unusual + ((words[i] & exponent) == exponent ? 1 : 0));
    }
    if (unusual == 0) continue;
    for (std::size_t i = 0; i < count; ++i) {
      if ((words[i] & exponent) != exponent) continue;
      ++(static_cast<Word>(words[i] & ~sign) == exponent ? infinities : nans);
    }
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
