#pragma once
// Passes over the elements of one tensor and of its counterparts in other models: in windows whose
// mapped pages fit the memory cap, within a window in parallel over units.  Units are cut at the
// same places whatever the cap and the number of threads, so that sums per unit, added in order,
// are always the same.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "adapters/safetensors/safetensors.hpp"
#include "evaluators/merge/merge_kernels.hpp"

namespace paretod {

/// A float dtype as the kernels know it.
StoredFloat stored_float(DType dtype);
/// Elements from `begin` on.
const std::byte* element_at(const TensorView& view, std::uint64_t begin);

struct PassLimits {
  std::size_t threads = 1;
  /// Of mapped pages at a time.
  std::uint64_t window_bytes = 0;
  /// Pages are released behind a window; not needed where all sources fit.
  bool release = false;
};

/// Of at most `threads`, how many are worth waking to go through so many bytes.
std::size_t team_for(std::size_t threads, std::uint64_t bytes);

/// Elements `begin` to `begin + count`, by the worker of that number.
using UnitBody = std::function<void(std::uint64_t begin, std::size_t count, std::size_t worker)>;

class TensorPass {
 public:
  /// `views`: what the body reads, all of `elements` elements.
  TensorPass(const PassLimits& limits, std::span<const TensorView* const> views,
             std::uint64_t elements)
      : limits_(limits), views_(views.begin(), views.end()), elements_(elements) {}

  /// Units of `unit` elements, the last one shorter; `after` (if any) runs between windows, on the
  /// calling thread, with the numbers of the window's first unit and of the one after its last;
  /// false ends the pass.
  void run(std::size_t unit, const UnitBody& body,
           const std::function<bool(std::uint64_t first, std::uint64_t end)>& after = {}) const;

  /// Units of a window: all of them where nothing is released.
  [[nodiscard]] std::uint64_t window_units(std::size_t unit) const;

 private:
  /// Of one element in all models.
  [[nodiscard]] std::uint64_t element_bytes() const;
  void advise(std::uint64_t begin, std::uint64_t count,
              void (*what)(std::span<const std::byte>)) const;

  PassLimits limits_;
  std::vector<const TensorView*> views_;
  std::uint64_t elements_;
};

}  // namespace paretod
