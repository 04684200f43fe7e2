// The half of MergePlan that sparsifies: what candidates keep, thresholds, restored norms.

#include <algorithm>
#include <utility>

#include "evaluators/cuda/merge_plan.hpp"
#include "evaluators/merge/merge_factors.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod::cuda {
namespace {

SparseKind kind_of(Keep::Kind kind) {
  switch (kind) {
    case Keep::Kind::none:
      return SparseKind::none;
    case Keep::Kind::random:
      return SparseKind::random;
    case Keep::Kind::between:
      return SparseKind::between;
    default:
      return SparseKind::all;
  }
}

}  // namespace

void MergePlan::upload_sparse(std::span<const MergeCandidate> candidates, cudaStream_t stream) {
  std::vector<SparseRow> rows(tensors_.size() * sources_ * stride_);
  std::vector<Question> questions;
  std::vector<std::uint64_t> counts;  // that are asked for of one row
  const CountRounding rounding = options_.keep_ties ? CountRounding::nearest : CountRounding::down;
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    const PlanTensor& tensor = tensors_[t];
    for (std::size_t k = 0; k < sources_; ++k) {
      const std::size_t row = t * sources_ + k;
      counts.clear();
      if (uses_thresholds(traits_)) {
        for (const MergeCandidate& candidate : candidates) {
          const KeptCounts asked = kept_counts(rule_, candidate.groups[tensor.group].densities[k],
                                               tensor.elements, rounding);
          for (const std::uint64_t count : {asked.kept, asked.dropped}) {
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
        double weight = group.weights[k];
        // Without a base there is no last step that would apply it.
        if (!traits_.uses_base) weight *= group.lambda;
        const KeptShare share = kept_share(rule_, density, weight);
        SparseRow& out = rows[row * stride_ + p];
        out.key = mask_key(mix64(candidates[p].seed, tensor.name_hash), k);
        out.weight = static_cast<float>(group.weights[k]);
        out.kind = kind_of(share.kind);
        out.below = share.below;
        if (out.kind == SparseKind::between) {
          const KeptCounts asked = kept_counts(rule_, density, tensor.elements, rounding);
          out.kept = threshold(asked.kept);
          out.dropped = threshold(asked.dropped);
        }
        out.scale = static_cast<float>(share.scale);
      }
    }
  }
  upload(rows.data(), rows.size(), sparse_.data(), stream);
  select(std::move(questions), stream);
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
