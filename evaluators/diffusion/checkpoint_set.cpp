#include "evaluators/diffusion/checkpoint_set.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "adapters/safetensors/safetensors.hpp"
#include "adapters/safetensors/widen.hpp"

namespace paretod {
namespace {

/// Why `file` is not a checkpoint of this layout, told against `first` where that says more.
std::optional<Error> mismatch(const SafetensorsFile& file, const SafetensorsFile& first,
                              const std::vector<TensorSpec>& layout) {
  const bool is_first = file.path() == first.path();
  const std::string origin = is_first ? "the model description" : first.path();
  for (const TensorSpec& spec : layout) {
    const TensorView* tensor = file.find(spec.name);
    const std::string subject = file.path() + ": tensor \"" + spec.name + "\" ";
    if (tensor == nullptr) return invalid(subject + "is missing; " + origin + " has it");
    if (tensor->shape != spec.shape) {
      return invalid(subject + "has shape " + to_string(tensor->shape) + ", in " + origin +
                     " it is " + to_string(spec.shape));
    }
    if (tensor->dtype != DType::f16 && tensor->dtype != DType::bf16 &&
        tensor->dtype != DType::f32) {
      return invalid(subject + "has dtype " + std::string(name_of(tensor->dtype)) +
                     "; F16, BF16 or F32 is needed");
    }
    const DType expected = first.find(spec.name)->dtype;
    if (tensor->dtype != expected) {
      return invalid(subject + "has dtype " + std::string(name_of(tensor->dtype)) + ", in " +
                     origin + " it is " + std::string(name_of(expected)));
    }
  }
  for (const TensorView& tensor : file.tensors()) {
    if (std::none_of(layout.begin(), layout.end(),
                     [&tensor](const TensorSpec& spec) { return spec.name == tensor.name; })) {
      return invalid(file.path() + ": tensor \"" + tensor.name + "\" is not in " + origin);
    }
  }
  return std::nullopt;
}

/// Copies `count` values into their places from flat index `start` on, strip by strip.
template <class T>
void scatter(const T* values, std::size_t count, std::size_t start, std::size_t source,
             std::size_t sources, T* out) {
  for (std::size_t i = 0; i < count;) {
    const std::size_t at = start + i;
    const std::size_t column = at % merge_strip;
    const std::size_t run = std::min(merge_strip - column, count - i);
    std::copy(values + i, values + i + run,
              out + (at / merge_strip * sources + source) * merge_strip + column);
    i += run;
  }
}

}  // namespace

Result<CheckpointSet> CheckpointSet::load(const std::vector<std::string>& paths,
                                          const std::vector<TensorSpec>& layout,
                                          std::size_t reference) {
  CheckpointSet set;
  set.sources_ = paths.size();
  set.reference_ = reference;
  for (const TensorSpec& spec : layout) set.parameters_ += element_count(spec);

  std::optional<SafetensorsFile> first;
  bool all_half = true;
  for (std::size_t source = 0; source < paths.size(); ++source) {
    auto file = SafetensorsFile::open(paths[source]);
    if (!file) return file.error();
    if (!first) {
      first = *file;
      for (const TensorView& tensor : file->tensors()) {
        all_half = all_half && tensor.dtype == DType::f16;
      }
    }
    if (auto error = mismatch(*file, *first, layout)) return *error;
    if (source == 0) {
      const std::size_t size = set.blocks() * set.sources_ * merge_columns;
      if (all_half)
        set.halves_.resize(size);
      else
        set.floats_.resize(size);
    }

    std::size_t start = 0;
    for (const TensorSpec& spec : layout) {
      const TensorView& tensor = *file->find(spec.name);
      const auto values = to_floats(tensor);
      if (!values) return invalid(file->path() + ": " + values.error().message);
      if (!std::all_of(values->begin(), values->end(), [](float x) { return std::isfinite(x); })) {
        return invalid(file->path() + ": tensor \"" + tensor.name +
                       "\" has a value that is not finite");
      }
      if (all_half) {
        std::vector<std::uint16_t> halves(values->size());
        if (!halves.empty()) std::memcpy(halves.data(), tensor.bytes.data(), tensor.bytes.size());
        scatter(halves.data(), halves.size(), start, source, set.sources_, set.halves_.data());
      } else {
        scatter(values->data(), values->size(), start, source, set.sources_, set.floats_.data());
      }
      start += values->size();
    }
  }
  return set;
}

void CheckpointSet::merge_block(const SimdKernels& kernels, std::size_t block,
                                const float* coefficients, std::size_t candidates,
                                float* out) const {
  const std::size_t from = block * sources_ * merge_columns;
  float* to = out + block * merge_columns;
  if (halves_.empty()) {
    kernels.merge_float(floats_.data() + from, sources_, reference_, coefficients, candidates, to,
                        stride());
  } else {
    kernels.merge_half(halves_.data() + from, sources_, reference_, coefficients, candidates, to,
                       stride());
  }
}

}  // namespace paretod
