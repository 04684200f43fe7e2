#include "evaluators/merge/merge_outputs.hpp"

#include <utility>

namespace paretod {
namespace {

constexpr std::size_t alignment = 64;

std::size_t aligned(std::uint64_t bytes) {
  return (bytes + alignment - 1) / alignment * alignment;
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

}  // namespace paretod
