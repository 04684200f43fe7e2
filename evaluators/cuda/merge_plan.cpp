#include "evaluators/cuda/merge_plan.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "evaluators/merge/merge_factors.hpp"

namespace paretod::cuda {
namespace {

std::uint64_t parts_of(std::uint64_t elements) {
  return (elements + part_elements - 1) / part_elements;
}
std::uint64_t tiles_of(std::uint64_t elements) {
  return (elements + tile_elements - 1) / tile_elements;
}

bool aligned_to_four(const void* memory, Stored type) {
  return reinterpret_cast<std::uintptr_t>(memory) % (4 * size_of(type)) == 0;
}

bool all_aligned(const PlanTensor& tensor) {
  const auto all = [](const auto& pointers, Stored type) {
    return std::all_of(pointers.begin(), pointers.end(),
                       [type](const void* memory) { return aligned_to_four(memory, type); });
  };
  return aligned_to_four(tensor.base, tensor.base_type) &&
         all(tensor.sources, tensor.source_type) &&
         all(tensor.importances, tensor.importance_type) && all(tensor.outputs, tensor.output_type);
}

/// Behind the last tensor of a launch.
CombineTensor end_of(std::uint64_t tiles) {
  CombineTensor end = {};
  end.first_tile = tiles;
  return end;
}

struct Range {
  std::uintptr_t begin;
  std::uintptr_t end;
  bool written;
};

/// Whether memory that is written is also read, or written twice.
bool overlaps(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::uintptr_t read_end = 0;
  std::uintptr_t written_end = 0;
  for (const Range& range : ranges) {
    if (range.begin < written_end || (range.written && range.begin < read_end)) return true;
    std::uintptr_t& end = range.written ? written_end : read_end;
    end = std::max(end, range.end);
  }
  return false;
}

}  // namespace

std::optional<Error> unsupported(const MergeRule& rule) {
  switch (rule.method) {
    case MergeMethod::della:
    case MergeMethod::della_linear:
      return invalid("the GPU does not merge by this method",
                     {{"/method", std::string(name_of(rule.method)) +
                                      " is merged by the processor only, since it ranks every row; "
                                      "the GPU has all other methods"}});
    default:
      return std::nullopt;
  }
}

bool merges_parts(const MergeRule& rule) {
  const MergeTraits traits = traits_of(rule.method);
  return !uses_thresholds(traits) && rule.method != MergeMethod::slerp &&
         (traits.sparsifier == Sparsifier::none || rule.rescale != Rescale::l1);
}

MergePlan::MergePlan(const MergeRule& rule, std::size_t sources, std::size_t capacity,
                     const PlanOptions& options)
    : rule_(rule),
      traits_(traits_of(rule.method)),
      sources_(sources),
      capacity_(capacity),
      options_(options),
      limits_(device_limits()) {
  if (options.no_base) traits_.uses_base = false;
  // What the widest kernel reads from the last candidate on.
  const std::size_t width = pass_width() == 0 ? most_plain_candidates : pass_width();
  stride_ = (capacity + width - 1) / width * width + width;
}

Result<MergePlan> MergePlan::make(const MergeRule& rule, std::size_t sources, std::size_t capacity,
                                  std::vector<PlanTensor> tensors, const PlanOptions& options) {
  if (auto error = unsupported(rule)) return *error;
  if (sources == 0 || capacity == 0) return invalid("a merge needs a source and a candidate");
  MergePlan plan(rule, sources, capacity, options);
  const bool fisher = rule.method == MergeMethod::fisher;
  const std::size_t most = plan.traits_.sparsifier != Sparsifier::none
                               ? most_sparse_sources(plan.limits_)
                           : fisher ? most_fisher_sources(plan.limits_)
                                    : most_plain_sources;
  if (sources > most) {
    return invalid(std::to_string(sources) + " sources are too many for the GPU; at most " +
                   std::to_string(most) + " are merged by " + std::string(name_of(rule.method)));
  }
  if (rule.method == MergeMethod::slerp && sources != 2) {
    return invalid("slerp is between two sources, not " + std::to_string(sources));
  }
  std::vector<Range> ranges;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const PlanTensor& tensor = tensors[t];
    const std::string name = "tensor " + std::to_string(t);
    if (tensor.elements == 0) continue;
    if (tensor.first_element % 4 != 0 || (tensor.first_element != 0 && !merges_parts(rule))) {
      return invalid(name + " cannot be merged in such parts by this method");
    }
    if (tensor.group >= rule.group_count())
      return invalid(name + " is of a group that is not there");
    if (tensor.sources.size() != sources || tensor.outputs.size() != capacity) {
      return invalid(name + " needs " + std::to_string(sources) + " sources and " +
                     std::to_string(capacity) + " outputs");
    }
    if (tensor.importances.size() != (fisher ? sources : 0)) {
      return invalid(name + (fisher ? " needs one row of importances per source"
                                    : " takes no importances with this method"));
    }
    if (plan.traits_.uses_base != (tensor.base != nullptr)) {
      return invalid(name + (tensor.base == nullptr ? " needs a base" : " takes no base") +
                     " with " + std::string(name_of(rule.method)));
    }
    if (uses_thresholds(plan.traits_) &&
        tensor.elements > std::numeric_limits<std::uint32_t>::max()) {
      return invalid(name + " has more elements than thresholds are counted for (2^32)");
    }
    bool there = true;
    bool natural = true;
    const auto add = [&](const void* memory, Stored type, bool written) {
      const auto at = reinterpret_cast<std::uintptr_t>(memory);
      there = there && memory != nullptr;
      natural = natural && at % size_of(type) == 0;
      ranges.push_back({at, at + tensor.elements * size_of(type), written});
    };
    if (tensor.base != nullptr) add(tensor.base, tensor.base_type, false);
    for (const void* source : tensor.sources) add(source, tensor.source_type, false);
    for (const void* row : tensor.importances) add(row, tensor.importance_type, false);
    for (const void* output : tensor.outputs) add(output, tensor.output_type, true);
    if (!there) return invalid(name + " has a null pointer");
    if (!natural) return invalid(name + " has a pointer that is not aligned to its type");
  }
  if (overlaps(std::move(ranges))) {
    return invalid("an output overlaps a source, a base or another output; merge into a copy");
  }
  plan.build(std::move(tensors));
  return plan;
}

void MergePlan::build(std::vector<PlanTensor> tensors) {
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    if (tensors[t].elements > 0) numbers_.push_back(t);
  }
  std::stable_sort(numbers_.begin(), numbers_.end(), [&](std::size_t a, std::size_t b) {
    return tensors[a].source_type < tensors[b].source_type;
  });
  for (const std::size_t t : numbers_) tensors_.push_back(std::move(tensors[t]));
  const bool slerp = rule_.method == MergeMethod::slerp;

  std::vector<CombineTensor> table;
  std::vector<const void*> rows;
  std::vector<void*> outputs;
  std::vector<SelectRow> select_rows;
  std::vector<Stored> importance_types;
  first_parts_ = {0};
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    const PlanTensor& tensor = tensors_[t];
    if (batches_.empty() || batches_.back().source != tensor.source_type) {
      if (!batches_.empty()) table.push_back(end_of(batches_.back().tiles));
      batches_.push_back({tensor.source_type, static_cast<std::uint32_t>(t), 0, 0, table.size()});
    }
    Batch& batch = batches_.back();
    const bool aligned = all_aligned(tensor);
    table.push_back({tensor.elements, batch.tiles, tensor.first_element, tensor.base,
                     static_cast<std::uint32_t>(rows.size()),
                     static_cast<std::uint32_t>(outputs.size()),
                     // Weights of a spherical interpolation are a tensor's own.
                     static_cast<std::uint32_t>(slerp ? t : tensor.group), tensor.base_type,
                     tensor.output_type, aligned});
    ++batch.tensors;
    batch.tiles += tiles_of(tensor.elements);
    rows.insert(rows.end(), tensor.sources.begin(), tensor.sources.end());
    rows.insert(rows.end(), tensor.importances.begin(), tensor.importances.end());
    importance_types.push_back(tensor.importance_type);
    outputs.insert(outputs.end(), tensor.outputs.begin(), tensor.outputs.end());
    const void* base = options_.deltas ? nullptr : tensor.base;
    for (const void* source : tensor.sources) {
      select_rows.push_back(
          {source, base, tensor.elements, tensor.source_type, tensor.base_type, aligned});
      first_parts_.push_back(first_parts_.back() + parts_of(tensor.elements));
    }
    input_bytes_ += tensor.elements * (sources_ * size_of(tensor.source_type) +
                                       tensor.importances.size() * size_of(tensor.importance_type) +
                                       (tensor.base != nullptr ? size_of(tensor.base_type) : 0));
    output_bytes_ += tensor.elements * size_of(tensor.output_type);
  }
  if (!batches_.empty()) table.push_back(end_of(batches_.back().tiles));

  const Stream stream;
  const auto put = [&](auto& buffer, const auto& values) {
    buffer.reserve(values.size());
    upload(values.data(), values.size(), buffer.data(), stream.get());
  };
  put(table_, table);
  put(rows_, rows);
  put(outputs_, outputs);
  weights_.reserve((slerp ? tensors_.size() : rule_.group_count()) * sources_ * stride_);
  factors_.reserve(rule_.group_count() * stride_);
  if (rule_.method == MergeMethod::fisher) {
    put(importance_types_, importance_types);
    wrong_.reserve(tensors_.size());
  }
  if (traits_.sparsifier != Sparsifier::none || slerp) {
    put(select_rows_, select_rows);
    put(norm_blocks_, first_parts_);
  }
  if (traits_.sparsifier != Sparsifier::none) {
    sparse_.reserve(select_rows.size() * stride_);
    if (rule_.rescale == Rescale::l1) norms_.reserve(first_parts_.back() * (1 + sparse_width));
  }
  stream.synchronize();
}

std::size_t MergePlan::pass_width() const {
  if (traits_.sparsifier != Sparsifier::none) return sparse_width;
  return rule_.method == MergeMethod::fisher ? fisher_width : 0;
}

std::size_t MergePlan::passes(std::size_t candidates) const {
  const std::size_t width =
      pass_width() == 0 ? plain_candidates(most_plain_candidates, options_.path) : pass_width();
  return (candidates + width - 1) / width;
}

CombineBatch MergePlan::batch_of(const Batch& batch) const {
  CombineBatch out = {};
  out.tensors = table_.data() + batch.first_entry;
  out.tensor_count = batch.tensors;
  out.tiles = batch.tiles;
  out.rows = rows_.data();
  out.outputs = outputs_.data();
  out.weights = weights_.data();
  out.factors = factors_.data();
  out.stride = static_cast<std::uint32_t>(stride_);
  out.sources = static_cast<std::uint32_t>(sources_);
  out.subtract = traits_.uses_base && !options_.deltas;
  return out;
}

Result<void> MergePlan::run(std::span<const MergeCandidate> candidates, cudaStream_t stream) {
  if (candidates.size() > capacity_) {
    return invalid(std::to_string(candidates.size()) + " candidates are more than the " +
                   std::to_string(capacity_) + " that there are outputs for");
  }
  for (const MergeCandidate& candidate : candidates) {
    Problems problems = check_candidate(rule_, sources_, candidate);
    if (!problems.empty()) return invalid("the merge is not valid", std::move(problems));
  }
  if (candidates.empty() || tensors_.empty()) return {};
  // Tables of the last run may still be read.
  if (ran_) finished_.hold(stream);
  const bool fisher = rule_.method == MergeMethod::fisher;
  if (rule_.method == MergeMethod::slerp) {
    upload_slerp(candidates, stream);
  } else {
    upload_weights(candidates, stream);
  }
  if (fisher) {
    check(cudaMemsetAsync(wrong_.data(), 0, tensors_.size() * sizeof(std::uint32_t), stream),
          "clearing flags");
  }
  const bool sparse = traits_.sparsifier != Sparsifier::none;
  if (sparse) {
    upload_sparse(candidates, stream);
    if (rule_.rescale == Rescale::l1) restore(candidates.size(), stream);
  }
  for (const Batch& batch : batches_) {
    for (std::size_t first = 0; first < candidates.size();) {
      const std::size_t left = candidates.size() - first;
      const std::size_t count =
          pass_width() > 0 ? std::min(left, pass_width()) : plain_candidates(left, options_.path);
      CombineBatch combine = batch_of(batch);
      combine.first_candidate = static_cast<std::uint32_t>(first);
      combine.candidates = static_cast<std::uint32_t>(count);
      if (sparse) {
        launch_combine_sparse(limits_, batch.source,
                              {combine, sparse_.data(), thresholds_.data(), batch.first_tensor,
                               traits_.elects_sign, rule_.normalize},
                              stream);
      } else if (fisher) {
        launch_combine_fisher(
            limits_, batch.source,
            {combine, importance_types_.data(), batch.first_tensor, wrong_.data()}, stream);
      } else {
        launch_combine(limits_, batch.source, options_.path, combine, stream);
      }
      first += count;
    }
  }
  finished_.record(stream);
  ran_ = true;
  return {};
}

void MergePlan::upload_weights(std::span<const MergeCandidate> candidates, cudaStream_t stream) {
  std::vector<float> weights(rule_.group_count() * sources_ * stride_);
  std::vector<float> factors(rule_.group_count() * stride_);
  for (std::size_t g = 0; g < rule_.group_count(); ++g) {
    for (std::size_t p = 0; p < candidates.size(); ++p) {
      const GroupCoefficients& group = candidates[p].groups[g];
      WeightFactors of = weight_factors(rule_, group);
      // Without a base there is no last step that would apply it.
      if (!traits_.uses_base) of.divisor /= of.finish;
      for (std::size_t k = 0; k < sources_; ++k) {
        weights[(g * sources_ + k) * stride_ + p] =
            static_cast<float>(group.weights[k] / of.divisor);
      }
      factors[g * stride_ + p] = static_cast<float>(of.finish);
    }
  }
  // From pageable memory: copied before the call returns.
  upload(weights.data(), weights.size(), weights_.data(), stream);
  upload(factors.data(), factors.size(), factors_.data(), stream);
}

void MergePlan::upload_slerp(std::span<const MergeCandidate> candidates, cudaStream_t stream) {
  if (cosines_.empty()) measure_angles(stream);
  std::vector<float> weights(tensors_.size() * sources_ * stride_);
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    for (std::size_t p = 0; p < candidates.size(); ++p) {
      const auto both = slerp_weights(cosines_[t], candidates[p].groups[tensors_[t].group].t);
      for (std::size_t k = 0; k < sources_; ++k) {
        weights[(t * sources_ + k) * stride_ + p] = static_cast<float>(both.at(k));
      }
    }
  }
  upload(weights.data(), weights.size(), weights_.data(), stream);
}

void MergePlan::measure_angles(cudaStream_t stream) {
  // Both rows of a tensor have the same parts.
  const auto blocks = static_cast<std::uint32_t>(first_parts_.back() / 2);
  const DeviceBuffer<double> sums(std::size_t{blocks} * 3);
  launch_multiply_rows({select_rows_.data(), norm_blocks_.data(),
                        static_cast<std::uint32_t>(tensors_.size()), sums.data()},
                       blocks, stream);
  std::vector<double> parts(sums.size());
  download(sums.data(), parts.size(), parts.data(), stream);
  check(cudaStreamSynchronize(stream), "measuring angles");
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    std::array<double, 3> products{};
    for (std::uint64_t part = first_parts_[2 * t] / 2; part < first_parts_[2 * t + 2] / 2; ++part) {
      for (std::size_t i = 0; i < 3; ++i) products.at(i) += parts[part * 3 + i];
    }
    cosines_.push_back(cosine_between(products));
  }
}

std::vector<std::size_t> MergePlan::wrong_importances(cudaStream_t stream) const {
  std::vector<std::size_t> out;
  if (rule_.method != MergeMethod::fisher || !ran_) return out;
  std::vector<std::uint32_t> flags(tensors_.size());
  download(wrong_.data(), flags.size(), flags.data(), stream);
  check(cudaStreamSynchronize(stream), "waiting for the device");
  for (std::size_t t = 0; t < flags.size(); ++t) {
    if (flags[t] != 0) out.push_back(numbers_[t]);
  }
  return out;
}

}  // namespace paretod::cuda
