#pragma once
// The two places that merged models go to: memory, and folders of safetensors files; and a watch on
// what goes to the second.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "adapters/safetensors/safetensors_writer.hpp"
#include "evaluators/diffusion/aligned.hpp"
#include "evaluators/merge/merge_engine.hpp"

namespace paretod {

/// One buffer per candidate, every tensor aligned to 64 bytes.  Reused from batch to batch.
class MemoryOutput final : public MergeOutput {
 public:
  MemoryOutput(std::vector<TensorLayout> layouts, std::size_t candidates);

  /// Bytes of one candidate's buffer.
  static std::uint64_t size_of_one(std::span<const TensorLayout> layouts);

  [[nodiscard]] std::byte* memory(std::size_t candidate, std::size_t tensor) override {
    return buffers_[candidate].data() + offsets_[tensor];
  }
  /// Never called: everything has memory.
  Result<void> write(std::size_t, std::size_t, std::uint64_t, std::span<const std::byte>) override;
  /// Views of a candidate's tensors, valid as long as this object.
  [[nodiscard]] std::span<const TensorView> tensors(std::size_t candidate) const {
    return views_[candidate];
  }

 private:
  std::vector<std::size_t> offsets_;
  std::vector<AlignedVector<std::byte>> buffers_;
  std::vector<std::vector<TensorView>> views_;
};

/// One writer per candidate, in the order of the tensors; the caller commits them.
class FileOutput final : public MergeOutput {
 public:
  explicit FileOutput(std::span<SafetensorsWriter> writers) : writers_(writers) {}

  [[nodiscard]] std::byte* memory(std::size_t, std::size_t) override { return nullptr; }
  Result<void> write(std::size_t candidate, std::size_t tensor, std::uint64_t offset,
                     std::span<const std::byte> bytes) override {
    return writers_[candidate].write(tensor, offset, bytes);
  }

 private:
  std::span<SafetensorsWriter> writers_;
};

/// Counts what is not a finite number on its way to another output, while it is in the cache: a NaN
/// of a source, or what float16 cannot hold.
class FiniteCheck final : public MergeOutput {
 public:
  /// Both outlive it.  `to` has no memory of its own.
  FiniteCheck(MergeOutput& to, std::span<const TensorLayout> layouts);

  [[nodiscard]] std::byte* memory(std::size_t, std::size_t) override { return nullptr; }
  Result<void> write(std::size_t candidate, std::size_t tensor, std::uint64_t offset,
                     std::span<const std::byte> bytes) override;
  /// Empty if all is finite; else how many are not, in which tensors, and what may be the matter.
  /// Call after the merge.
  [[nodiscard]] std::string warning() const;

 private:
  MergeOutput& to_;
  const std::span<const TensorLayout> layouts_;
  std::vector<std::atomic<std::uint64_t>> nans_, infinities_;  ///< by tensor
};

}  // namespace paretod
