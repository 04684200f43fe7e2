#include "evaluators/merge/tensor_pass.hpp"

#include <algorithm>

#include "adapters/safetensors/residency.hpp"
#include "evaluators/diffusion/parallel.hpp"

namespace paretod {
namespace {

/// Bytes below which a second thread is not worth waking.
constexpr std::uint64_t work_of_one = 256 << 10;

}  // namespace

StoredFloat stored_float(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return StoredFloat::f16;
    case DType::bf16:
      return StoredFloat::bf16;
    case DType::f64:
      return StoredFloat::f64;
    default:
      return StoredFloat::f32;
  }
}

const std::byte* element_at(const TensorView& view, std::uint64_t begin) {
  return view.bytes.data() + begin * size_of(view.dtype);
}

std::uint64_t TensorPass::element_bytes() const {
  std::uint64_t bytes = 0;
  for (const TensorView* view : views_) bytes += size_of(view->dtype);
  return bytes;
}

std::uint64_t TensorPass::window_units(std::size_t unit) const {
  const std::uint64_t units = (elements_ + unit - 1) / unit;
  if (!limits_.release) return units;
  const std::uint64_t bytes = element_bytes() * unit;
  return std::clamp<std::uint64_t>(limits_.window_bytes / std::max<std::uint64_t>(bytes, 1), 1,
                                   std::max<std::uint64_t>(units, 1));
}

std::size_t team_for(std::size_t threads, std::uint64_t bytes) {
  return std::clamp<std::uint64_t>(bytes / work_of_one, 1, threads);
}

void TensorPass::advise(std::uint64_t begin, std::uint64_t count,
                        void (*what)(std::span<const std::byte>)) const {
  if (begin >= elements_) return;
  count = std::min(count, elements_ - begin);
  for (const TensorView* view : views_) {
    what({element_at(*view, begin), count * size_of(view->dtype)});
  }
}

void TensorPass::run(std::size_t unit, const UnitBody& body,
                     const std::function<bool(std::uint64_t, std::uint64_t)>& after) const {
  const std::uint64_t units = (elements_ + unit - 1) / unit;
  const std::uint64_t in_window = window_units(unit);
  for (std::uint64_t first = 0; first < units; first += in_window) {
    const std::uint64_t end = std::min(first + in_window, units);
    if (limits_.release) advise(end * unit, in_window * unit, expect_reading);
    const std::uint64_t bytes = (end - first) * unit * element_bytes();
    parallel_for(team_for(limits_.threads, bytes), end - first,
                 [&](std::size_t i, std::size_t worker) {
                   const std::uint64_t begin = (first + i) * unit;
                   body(begin, std::min<std::uint64_t>(unit, elements_ - begin), worker);
                 });
    if (limits_.release) advise(first * unit, (end - first) * unit, release_pages);
    if (after && !after(first, end)) return;
  }
}

}  // namespace paretod
