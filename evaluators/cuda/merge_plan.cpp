#include "evaluators/cuda/merge_plan.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "optimizers/core/rng.hpp"

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
         all(tensor.sources, tensor.source_type) && all(tensor.outputs, tensor.output_type);
}

bool uses_thresholds(const MergeTraits& traits) {
  return traits.sparsifier == Sparsifier::magnitude || traits.sparsifier == Sparsifier::breadcrumbs;
}

/// How many of `elements` a density keeps.
std::uint64_t kept_elements(double density, std::uint64_t elements, bool to_nearest) {
  if (density >= 1) return elements;
  if (density <= 0 || elements == 0) return 0;
  const double share = density * static_cast<double>(elements);
  const auto count = static_cast<std::uint64_t>(to_nearest ? std::nearbyint(share) : share);
  return std::clamp<std::uint64_t>(count, 1, elements);
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

std::uint64_t tensor_name_hash(const std::string& name) {
  std::uint64_t hash = 0;
  for (const unsigned char c : name) hash = mix64(hash, c);
  return hash;
}

std::optional<Error> unsupported(const MergeRule& rule) {
  switch (rule.method) {
    case MergeMethod::slerp:
    case MergeMethod::fisher:
    case MergeMethod::della:
    case MergeMethod::della_linear:
      return invalid("the GPU does not merge by this method",
                     {{"/method", std::string(name_of(rule.method)) +
                                      " is merged by the processor only; on the GPU there are "
                                      "linear, task_arithmetic, ties, dare_linear, dare_ties, "
                                      "breadcrumbs and breadcrumbs_ties"}});
    default:
      return std::nullopt;
  }
}

bool merges_parts(const MergeRule& rule) {
  const MergeTraits traits = traits_of(rule.method);
  return !uses_thresholds(traits) &&
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
  const std::size_t width =
      traits_.sparsifier != Sparsifier::none ? sparse_width : most_plain_candidates;
  stride_ = (capacity + width - 1) / width * width + width;
}

Result<MergePlan> MergePlan::make(const MergeRule& rule, std::size_t sources, std::size_t capacity,
                                  std::vector<PlanTensor> tensors, const PlanOptions& options) {
  if (auto error = unsupported(rule)) return *error;
  if (sources == 0 || capacity == 0) return invalid("a merge needs a source and a candidate");
  MergePlan plan(rule, sources, capacity, options);
  const bool sparse = plan.traits_.sparsifier != Sparsifier::none;
  const std::size_t most = sparse ? most_sparse_sources(plan.limits_) : most_plain_sources;
  if (sources > most) {
    return invalid(std::to_string(sources) + " sources are too many for the GPU; at most " +
                   std::to_string(most) + " are merged by " + std::string(name_of(rule.method)));
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
  std::erase_if(tensors, [](const PlanTensor& tensor) { return tensor.elements == 0; });
  std::stable_sort(tensors.begin(), tensors.end(), [](const PlanTensor& a, const PlanTensor& b) {
    return a.source_type < b.source_type;
  });
  tensors_ = std::move(tensors);

  std::vector<CombineTensor> table;
  std::vector<const void*> rows;
  std::vector<void*> outputs;
  std::vector<SelectRow> select_rows;
  first_parts_ = {0};
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    const PlanTensor& tensor = tensors_[t];
    if (batches_.empty() || batches_.back().source != tensor.source_type) {
      if (!batches_.empty()) table.push_back(end_of(batches_.back().tiles));
      batches_.push_back({tensor.source_type, static_cast<std::uint32_t>(t), 0, 0, table.size()});
    }
    Batch& batch = batches_.back();
    const bool aligned = all_aligned(tensor);
    table.push_back(
        {tensor.elements, batch.tiles, tensor.first_element, tensor.base,
         static_cast<std::uint32_t>(rows.size()), static_cast<std::uint32_t>(outputs.size()),
         static_cast<std::uint32_t>(tensor.group), tensor.base_type, tensor.output_type, aligned});
    ++batch.tensors;
    batch.tiles += tiles_of(tensor.elements);
    rows.insert(rows.end(), tensor.sources.begin(), tensor.sources.end());
    outputs.insert(outputs.end(), tensor.outputs.begin(), tensor.outputs.end());
    const void* base = options_.deltas ? nullptr : tensor.base;
    for (const void* source : tensor.sources) {
      select_rows.push_back(
          {source, base, tensor.elements, tensor.source_type, tensor.base_type, aligned});
      first_parts_.push_back(first_parts_.back() + parts_of(tensor.elements));
    }
    input_bytes_ += tensor.elements * (sources_ * size_of(tensor.source_type) +
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
  weights_.reserve(rule_.group_count() * sources_ * stride_);
  factors_.reserve(rule_.group_count() * stride_);
  if (traits_.sparsifier != Sparsifier::none) {
    put(select_rows_, select_rows);
    put(norm_blocks_, first_parts_);
    sparse_.reserve(select_rows.size() * stride_);
    if (rule_.rescale == Rescale::l1) norms_.reserve(first_parts_.back() * (1 + sparse_width));
  }
  stream.synchronize();
}

std::size_t MergePlan::passes(std::size_t candidates) const {
  const std::size_t width = traits_.sparsifier != Sparsifier::none
                                ? sparse_width
                                : plain_candidates(most_plain_candidates, options_.path);
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
  upload_weights(candidates, stream);
  const bool sparse = traits_.sparsifier != Sparsifier::none;
  if (sparse) {
    upload_sparse(candidates, stream);
    if (rule_.rescale == Rescale::l1) restore(candidates.size(), stream);
  }
  for (const Batch& batch : batches_) {
    for (std::size_t first = 0; first < candidates.size();) {
      const std::size_t left = candidates.size() - first;
      const std::size_t count = sparse ? std::min<std::size_t>(left, sparse_width)
                                       : plain_candidates(left, options_.path);
      CombineBatch combine = batch_of(batch);
      combine.first_candidate = static_cast<std::uint32_t>(first);
      combine.candidates = static_cast<std::uint32_t>(count);
      if (sparse) {
        launch_combine_sparse(limits_, batch.source,
                              {combine, sparse_.data(), thresholds_.data(), batch.first_tensor,
                               traits_.elects_sign, rule_.normalize},
                              stream);
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
      const double sum = std::accumulate(group.weights.begin(), group.weights.end(), 0.0);
      double divisor = 1;
      double factor = 1;
      if (rule_.method == MergeMethod::linear) {
        if (rule_.normalize) divisor = sum;
      } else {
        // An election divides by the weights of those who agree, element by element.
        factor = group.lambda;
        const bool divides = rule_.normalize && !traits_.elects_sign;
        if (divides && std::abs(sum) >= 1e-8) factor /= sum;
        // Without a base there is no last step that would apply it.
        if (!traits_.uses_base) divisor = 1 / factor;
      }
      for (std::size_t k = 0; k < sources_; ++k) {
        weights[(g * sources_ + k) * stride_ + p] = static_cast<float>(group.weights[k] / divisor);
      }
      factors[g * stride_ + p] = static_cast<float>(factor);
    }
  }
  // From pageable memory: copied before the call returns.
  upload(weights.data(), weights.size(), weights_.data(), stream);
  upload(factors.data(), factors.size(), factors_.data(), stream);
}

void MergePlan::upload_sparse(std::span<const MergeCandidate> candidates, cudaStream_t stream) {
  std::vector<SparseRow> rows(tensors_.size() * sources_ * stride_);
  std::vector<Question> questions;
  std::vector<std::uint64_t> counts;  // that are asked for of one row
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    const PlanTensor& tensor = tensors_[t];
    for (std::size_t k = 0; k < sources_; ++k) {
      const std::size_t row = t * sources_ + k;
      counts.clear();
      if (uses_thresholds(traits_)) {
        for (const MergeCandidate& candidate : candidates) {
          const Counts asked =
              counts_of(candidate.groups[tensor.group].densities[k], tensor.elements);
          for (const std::uint64_t count : {asked.largest, asked.dropped}) {
            if (count > 0 && count < tensor.elements) counts.push_back(count);
          }
        }
        std::sort(counts.begin(), counts.end());
        counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
      }
      const auto first = static_cast<std::int32_t>(questions.size());
      for (const std::uint64_t count : counts) questions.push_back({row, count});
      const auto threshold = [&](std::uint64_t count) {
        const auto at = std::lower_bound(counts.begin(), counts.end(), count);
        return at == counts.end() || *at != count
                   ? -1
                   : first + static_cast<std::int32_t>(at - counts.begin());
      };
      for (std::size_t p = 0; p < candidates.size(); ++p) {
        const GroupCoefficients& group = candidates[p].groups[tensor.group];
        const double density = group.densities[k];
        SparseRow& out = rows[row * stride_ + p];
        out.key = mix64(mix64(candidates[p].seed, tensor.name_hash), k);
        out.weight = static_cast<float>(group.weights[k]);
        double scale = group.weights[k];
        // Without a base there is no last step that would apply it.
        if (!traits_.uses_base) scale *= group.lambda;
        if (density >= 1) {
          out.kind = SparseKind::all;
        } else if (density > 0) {
          if (rule_.rescale == Rescale::expected) scale /= density;
          if (traits_.sparsifier == Sparsifier::random) {
            out.kind = SparseKind::random;
            out.below = static_cast<std::uint32_t>(std::min(density * 0x1p32, 0x1p32 - 1));
          } else {
            const Counts asked = counts_of(density, tensor.elements);
            out.kind = SparseKind::between;
            out.kept = threshold(asked.largest);
            out.dropped = threshold(asked.dropped);
          }
        }
        out.scale = static_cast<float>(scale);
      }
    }
  }
  upload(rows.data(), rows.size(), sparse_.data(), stream);
  select(std::move(questions), stream);
}

MergePlan::Counts MergePlan::counts_of(double density, std::uint64_t elements) const {
  const std::uint64_t kept = kept_elements(density, elements, options_.keep_ties);
  Counts counts{kept, 0};
  if (traits_.sparsifier == Sparsifier::breadcrumbs && density > 0 && density < 1) {
    counts.dropped = std::min(
        static_cast<std::uint64_t>(rule_.gamma * static_cast<double>(elements)), elements - kept);
    counts.largest += counts.dropped;
  }
  return counts;
}

void MergePlan::select(std::vector<Question> questions, cudaStream_t stream) {
  if (questions == answered_) return;
  answered_ = std::move(questions);
  thresholds_.reserve(answered_.size());
  // As many at a time as the scratch memory takes.
  const std::size_t most =
      std::max<std::size_t>(options_.scratch_bytes / (digit_buckets * sizeof(std::uint32_t)), 1);
  for (std::size_t first = 0; first < answered_.size(); first += most) {
    select_some(first, std::min(most, answered_.size() - first), stream);
  }
}

void MergePlan::select_some(std::size_t first, std::size_t count, cudaStream_t stream) {
  const std::span<const Question> questions = std::span(answered_).subspan(first, count);
  std::vector<SelectQuestion> table;
  std::vector<SelectGroup> first_groups;
  std::vector<SelectGroup> groups;
  std::vector<std::uint64_t> first_ties;
  std::vector<std::uint32_t> tie_slots;
  std::uint64_t first_blocks = 0;
  std::uint64_t blocks = 0;
  std::uint32_t first_of_row = 0;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const Question& question = questions[i];
    const auto index = static_cast<std::uint32_t>(i);
    const auto row = static_cast<std::uint32_t>(question.row);
    const auto parts = static_cast<std::uint32_t>(first_parts_[row + 1] - first_parts_[row]);
    const bool new_row = i == 0 || questions[i - 1].row != question.row;
    if (new_row) {
      first_of_row = index;
      first_groups.push_back({first_blocks, row, index, 1, parts});
      first_blocks += parts;
    }
    if (new_row || groups.back().questions == group_questions) {
      groups.push_back({blocks, row, index, 0, parts});
      blocks += parts;
    }
    first_ties.push_back(groups.back().first_block);
    tie_slots.push_back(groups.back().questions++);
    table.push_back(
        {question.count, 0, 0, row, static_cast<std::uint32_t>(first + i), first_of_row});
  }
  const auto first_count = static_cast<std::uint32_t>(first_groups.size());
  const auto group_count = static_cast<std::uint32_t>(groups.size());
  first_groups.push_back({first_blocks, 0, 0, 0, 0});
  groups.push_back({blocks, 0, 0, 0, 0});
  first_groups.insert(first_groups.end(), groups.begin(), groups.end());

  questions_.reserve(table.size());
  groups_.reserve(first_groups.size());
  first_ties_.reserve(first_ties.size());
  tie_slots_.reserve(tie_slots.size());
  histograms_.reserve(table.size() * digit_buckets);
  ties_.reserve(blocks * group_questions);
  upload(table.data(), table.size(), questions_.data(), stream);
  upload(first_groups.data(), first_groups.size(), groups_.data(), stream);
  upload(first_ties.data(), first_ties.size(), first_ties_.data(), stream);
  upload(tie_slots.data(), tie_slots.size(), tie_slots_.data(), stream);

  SelectLaunch launch;
  launch.all = {select_rows_.data(),
                questions_.data(),
                groups_.data() + first_count + 1,
                group_count,
                static_cast<std::uint32_t>(table.size()),
                histograms_.data(),
                ties_.data(),
                first_ties_.data(),
                tie_slots_.data(),
                thresholds_.data(),
                options_.keep_ties};
  launch.first = launch.all;
  launch.first.groups = groups_.data();
  launch.first.group_count = first_count;
  launch.first_blocks = static_cast<std::uint32_t>(first_blocks);
  launch.all_blocks = static_cast<std::uint32_t>(blocks);
  launch_select(launch, stream);
}

void MergePlan::restore(std::size_t candidates, cudaStream_t stream) {
  for (std::size_t first = 0; first < candidates; first += sparse_width) {
    NormBatch batch = {};
    batch.rows = select_rows_.data();
    batch.first_block = norm_blocks_.data();
    batch.row_count = static_cast<std::uint32_t>(tensors_.size() * sources_);
    batch.sparse = sparse_.data();
    batch.thresholds = thresholds_.data();
    batch.sums = norms_.data();
    batch.stride = static_cast<std::uint32_t>(stride_);
    batch.first_candidate = static_cast<std::uint32_t>(first);
    batch.candidates =
        static_cast<std::uint32_t>(std::min<std::size_t>(sparse_width, candidates - first));
    launch_restore_norms(batch, static_cast<std::uint32_t>(first_parts_.back()), stream);
  }
}

}  // namespace paretod::cuda
